"""Loading from a hub: a server of its routes, and the real worker in front of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_visgate.local.hub import testing
from pulumi_visgate.local.hub.testing import HubMirror
from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import JobResult
from visgate_worker import sources
from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from tests.unit.worker.conftest import RunpodQueue, Worker

TOKEN = "hf_CANARYcanaryCANARYcanary"
TASK_ID = "task_" + "h" * 26


@pytest.fixture
def hub(tiny_volume: Path) -> Iterator[HubMirror]:
    folder = tiny_volume / "models/visgate/tiny"
    with testing.serve() as mirror:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        mirror.commit("visgate/tiny", files)
        mirror.gate("visgate/tiny", TOKEN)
        yield mirror


def test_a_model_from_the_hub_is_drawn_with_and_kept_on_the_volume(
    start_worker: "Callable[..., Worker]", fresh_queue: "RunpodQueue", hub: HubMirror, tmp_path: Path
) -> None:
    given = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    environ = fresh_queue.environment(tmp_path) | given
    worker = start_worker(environ)
    fresh_queue.add("job-1", fresh_queue.job_input(TASK_ID))
    result = JobResult.from_runpod({"status": "COMPLETED", **fresh_queue.result("job-1")})
    assert result is not None
    assert result.error is None, worker.output()
    assert result.load is not None
    assert result.load.source == "hub"
    assert sources.volume_hub_cache(tmp_path, "visgate/tiny", None) is not None
    assert (testing.HUB, f"Bearer {TOKEN}") in hub.keys
    assert {key for origin, key in hub.keys if origin == testing.FILES} == {None}  # it is told no secret
    assert TOKEN not in worker.output()


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    import diffusers

    def download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)


def hub_error(name: str) -> Exception:
    import httpx
    from huggingface_hub import errors

    response = httpx.Response(404, request=httpx.Request("GET", "http://hub/"))
    made: Exception = getattr(errors, name)("no", response=response)
    return made


@pytest.mark.parametrize("name", ["RepositoryNotFoundError", "RevisionNotFoundError"])
def test_a_hub_without_the_model_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    refuse(monkeypatch, hub_error(name))
    with pytest.raises(JobFailedError) as caught:
        sources.find_model(tmp_path, "org/name")
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND


def test_a_gated_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse(monkeypatch, hub_error("GatedRepoError"))
    with pytest.raises(JobFailedError, match=r"gated.*HF_TOKEN") as caught:
        sources.find_model(tmp_path, "org/name")
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED


def test_a_hub_that_cannot_be_reached_is_a_load_failure_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuse(monkeypatch, OSError("no route"))
    with pytest.raises(JobFailedError, match=r"no route.*HF_ENDPOINT") as caught:
        sources.find_model(tmp_path, "org/name")
    assert caught.value.code is ErrorCode.MODEL_LOAD_FAILED
