"""The benchmark of the store, with a model of some kilobytes: it has to work on the day that somebody looks."""

import json
from pathlib import Path

from bench import store_load
from bench.servers import s3_server


def test_worker_and_boto3_load_the_same_model_from_a_real_store(tmp_path: Path) -> None:
    model, data, sidecar = (tmp_path / name for name in ("model", "data", "sidecar"))
    for folder in (model / "unet", data, sidecar):
        folder.mkdir(parents=True)
    (model / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(bytes(range(256)) * 400)
    with s3_server(data, sidecar) as store:
        measured = store_load.measure(store, model, tmp_path)
    names = ["worker.s3_load.loopback.ratio", "worker.s3_load.ratio", "worker.s3_load.rate"]
    assert [one.name for one in measured] == names
    assert all(one.value > 0 and one.anchor for one in measured)
    for kept in ("plain/models/bench/stored", "ours/volume/models/bench/stored"):
        found = next((tmp_path / kept).rglob("*.safetensors"))
        assert found.read_bytes() == (model / "unet" / found.name).read_bytes()
