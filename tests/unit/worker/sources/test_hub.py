"""Loading from a hub: a small server of its routes, and the real worker in front of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.hub import testing
from pulumi_visgate.local.hub.testing import HubMirror
from tests.unit.worker.sources.conftest import content, model_files, put_model, safetensors
from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import JobResult
from visgate_worker.failures import JobFailedError
from visgate_worker.sources import search
from visgate_worker.sources.hub import Downloaded, Hub, cache_of, snapshot_of
from visgate_worker.sources.search import Places, find_model

if TYPE_CHECKING:
    from tests.unit.worker.conftest import RunpodQueue, Worker

TOKEN = "hf_CANARYcanaryCANARYcanary"
TASK_ID = "task_" + "h" * 26
MODEL_ID = "org/name"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def mirror() -> Iterator[HubMirror]:
    with testing.serve() as running:
        yield running


@pytest.fixture
def hub(mirror: HubMirror, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub's client in this process, with the mirror as the hub."""
    made = Hub(SecretStr(TOKEN), endpoint=mirror.url)
    monkeypatch.setattr(search, "Hub", lambda _token: made)
    return made


def download(hub: Hub, cache: Path, revision: str | None = None, told: list[int] | None = None) -> Downloaded | None:
    told = [] if told is None else told
    return hub.download(MODEL_ID, revision, cache, on_bytes=lambda done, _total: told.append(done))


def hub_files() -> dict[str, bytes]:
    more = {
        "README.md": b"# a model",
        "LICENSE": b"open",
        "whole.safetensors": safetensors(9),
        "unet/diffusion_pytorch_model.fp16.safetensors": safetensors(9),
        "unet/diffusion_pytorch_model.bin": b"pickle",
    }
    return model_files(70_000) | more


def test_a_model_from_the_hub_is_drawn_with_and_kept_on_the_volume(
    start_worker: "Callable[..., Worker]",
    fresh_queue: "RunpodQueue",
    mirror: HubMirror,
    tiny_volume: Path,
    tmp_path: Path,
) -> None:
    mirror.commit("visgate/tiny", content(tiny_volume / "models/visgate/tiny"))
    environ = {"HF_ENDPOINT": mirror.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    worker = start_worker(fresh_queue.environment(tmp_path) | environ)
    fresh_queue.add("job-1", fresh_queue.job_input(TASK_ID))
    result = JobResult.from_runpod({"status": "COMPLETED", **fresh_queue.result("job-1")})
    assert result is not None
    assert result.error is None, worker.output()
    assert result.load is not None
    assert result.load.source == "hub"
    assert result.load.fetched_bytes == result.load.size_bytes
    assert 0 < result.load.fetch_s <= result.load.seconds
    assert snapshot_of(cache_of(tmp_path), "visgate/tiny", None) is not None
    assert (testing.HUB, f"Bearer {TOKEN}") in mirror.keys
    assert (testing.FILES, f"Bearer {TOKEN}") not in mirror.keys  # it is told no secret
    assert TOKEN not in worker.output()


def test_only_what_the_pipeline_needs_is_brought_and_only_once(mirror: HubMirror, hub: Hub, tmp_path: Path) -> None:
    files = hub_files()
    commit = mirror.commit(MODEL_ID, files)
    done = download(hub, tmp_path)
    assert done is not None
    wanted = {path: files[path] for path in (*model_files(), "LICENSE")}
    assert (done.path.name, content(done.path)) == (commit, wanted)
    assert (done.fetched_bytes, done.repaired_files) == (sum(map(len, wanted.values())), 0)
    mirror.reset()
    again = download(hub, tmp_path, "main")
    assert again is not None
    assert (again.path, again.fetched_bytes) == (done.path, 0)
    assert mirror.served.total() == len(files["model_index.json"])


def test_a_part_without_plain_safetensors_comes_as_diffusers_would_take_it(
    mirror: HubMirror, hub: Hub, tmp_path: Path
) -> None:
    files = hub_files()
    half, pickled = files.pop("unet/diffusion_pytorch_model.fp16.safetensors"), files.pop(WEIGHTS)
    files["vae/diffusion_pytorch_model.fp16.safetensors"] = half
    del files["vae/diffusion_pytorch_model.safetensors"]
    mirror.commit(MODEL_ID, files)
    done = download(hub, tmp_path)
    assert done is not None
    assert pickled is not None
    found = set(content(done.path))
    assert {"unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.fp16.safetensors"} <= found


@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_half_written_hub_cache_is_noticed_and_completed(
    mirror: HubMirror, hub: Hub, tmp_path: Path, harm: str
) -> None:
    files = hub_files()
    mirror.commit(MODEL_ID, files)
    cache = cache_of(tmp_path)
    done = download(hub, cache)
    assert done is not None
    weights = done.path / WEIGHTS
    if harm == "missing":
        weights.resolve().unlink()
        weights.unlink()
    else:
        weights.resolve().write_bytes(files[WEIGHTS][:1000])
    mirror.reset()
    found = find_model(Places(volume=tmp_path, cache=tmp_path / "cache"), MODEL_ID)
    assert (found.source, found.path, found.fetched_bytes) == ("hub", done.path, len(files[WEIGHTS]))
    assert (found.path / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert {path for path, count in mirror.served.items() if count} <= {WEIGHTS, "model_index.json"}
    assert find_model(Places(volume=tmp_path, cache=tmp_path / "cache"), MODEL_ID).source == "model_cache"


def test_a_wrong_byte_in_a_hub_cache_is_noticed_when_digests_are_asked_for(
    mirror: HubMirror, hub: Hub, tmp_path: Path
) -> None:
    files = hub_files()
    mirror.commit(MODEL_ID, files)
    done = download(hub, cache_of(tmp_path))
    assert done is not None
    damaged = bytearray(files[WEIGHTS])
    damaged[-1] ^= 1
    (done.path / WEIGHTS).resolve().write_bytes(damaged)
    places = Places(volume=tmp_path, cache=tmp_path / "cache", digests=True)
    assert find_model(places, MODEL_ID).source == "hub"
    assert (done.path / WEIGHTS).read_bytes() == files[WEIGHTS]


def test_a_broken_folder_on_the_volume_is_repaired_from_the_commit_that_it_was_seeded_from(
    mirror: HubMirror, hub: Hub, tmp_path: Path
) -> None:
    files = model_files(70_000)
    commit = mirror.commit(MODEL_ID, files)
    folder = put_model(tmp_path, files, commit=commit, folder=commit)
    (folder / WEIGHTS).write_bytes(b"x")
    shutil.rmtree(folder / "tokenizer")
    found = find_model(Places(volume=tmp_path, cache=tmp_path / "cache"), MODEL_ID)
    assert (found.source, found.path, found.repaired_files) == ("volume", folder, 3)
    assert content(folder) == files


def test_a_hub_without_the_model_or_revision_is_not_found(mirror: HubMirror, hub: Hub, tmp_path: Path) -> None:
    mirror.commit(MODEL_ID, hub_files())
    for model_id, revision in (("org/other", None), (MODEL_ID, "v2")):
        with pytest.raises(JobFailedError) as caught:
            find_model(Places(volume=tmp_path, cache=tmp_path / "cache"), model_id, revision)
        assert caught.value.code is ErrorCode.MODEL_NOT_FOUND


def test_a_gated_model_says_what_to_do(mirror: HubMirror, hub: Hub, tmp_path: Path) -> None:
    mirror.commit(MODEL_ID, hub_files())
    mirror.gate(MODEL_ID, "hf_ofsomebodyelse")
    with pytest.raises(JobFailedError, match=r"gated.*HF_TOKEN") as caught:
        download(hub, tmp_path)
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


def test_a_hub_that_cannot_be_reached_is_a_load_failure_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match=r"could not be downloaded .*HF_ENDPOINT") as caught:
        download(Hub(endpoint="http://127.0.0.1:1"), tmp_path)
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


def test_a_hub_that_does_not_give_a_file_names_no_signed_link(mirror: HubMirror, hub: Hub, tmp_path: Path) -> None:
    mirror.commit(MODEL_ID, hub_files())
    mirror.faults.stale = 1000
    with pytest.raises(JobFailedError, match="could not be downloaded from the hub: ") as caught:
        download(hub, tmp_path)
    assert "canary" not in str(caught.value)
