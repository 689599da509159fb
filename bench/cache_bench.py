"""A model of 512 MB from a folder to the local S3 server, checked on the way.

The anchor is boto3's `upload_file` of the same files with the same number of files at once, which compares nothing with
a manifest and can resume nothing. Both take turns, and the middle of three rounds counts.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.report import Measurement
from bench.servers import s3_server
from pulumi_visgate.resources._s3 import s3_client
from pulumi_visgate.resources._seed import FILES_AT_ONCE
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources.model_cache import ModelCacheCrud

BUCKET = "bench"
MODEL_ID = "bench/model"
WEIGHTS = {"unet": 256 << 20, "text_encoder": 192 << 20, "vae": 64 << 20}
ROUNDS = 3


def measure() -> list[Measurement]:
    """Seed and upload the same model in turns."""
    with tempfile.TemporaryDirectory(prefix="visgate-bench-") as scratch:
        model, data, sidecar = (Path(scratch) / name for name in ("model", "data", "sidecar"))
        for folder in (model, data, sidecar):
            folder.mkdir()
        _make(model)
        with s3_server(data, sidecar) as store:
            return _compare(Settings(store=store), model)


def _compare(settings: Settings, model: Path) -> list[Measurement]:
    client = s3_client(settings.store)
    client.create_bucket(Bucket=BUCKET)
    crud = ModelCacheCrud(Session(settings))
    inputs, _ = crud.check({}, {"model_id": MODEL_ID, "source": str(model), "bucket": BUCKET})
    files = [path for path in model.rglob("*") if path.is_file()]

    def upload() -> None:
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            list(pool.map(lambda path: client.upload_file(str(path), BUCKET, f"plain/{path.name}"), files))

    seeded: list[float] = []
    plain: list[float] = []
    for _ in range(ROUNDS):
        plain.append(_seconds(upload))
        seeded.append(_seconds(lambda: crud.create(inputs)))
        crud.delete("", inputs)
    again = crud.create(inputs)[1]
    unchanged = _seconds(lambda: crud.create(inputs))
    megabytes = again["size_bytes"] / 1e6
    middle, anchor = statistics.median(seeded), statistics.median(plain)
    return [
        Measurement.of("pulumi.model_cache.ratio", middle, "s", anchor=anchor),
        Measurement.of("pulumi.model_cache.rate", megabytes / middle, "MB/s", anchor=megabytes / anchor),
        Measurement.of("pulumi.model_cache.unchanged", unchanged, "s"),
    ]


def _make(folder: Path) -> None:
    (folder / "model_index.json").write_text("{}")
    for part, size in WEIGHTS.items():
        (folder / part).mkdir()
        (folder / part / f"{part}.safetensors").write_bytes(os.urandom(1 << 20) * (size >> 20))


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
