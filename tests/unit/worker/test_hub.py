"""Loading from a hub: a small server of its routes, and the real worker in front of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import JobResult
from visgate_worker import sources
from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Request, RunpodQueue, Server, Worker

COMMIT = "c0ffee" + "0" * 34
TOKEN = "hf_CANARYcanaryCANARYcanary"
TASK_ID = "task_" + "h" * 26


def hub_of(folder: Path, answer_of: Callable[..., Any]) -> "Callable[[Request], Any]":
    """Answer as a hub that has one model."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    info = {"id": "visgate/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files], "tags": []}
    tree = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in files.items()]

    def answer(request: "Request") -> Any:
        path = request.path.split("?")[0].lstrip("/")
        if path.startswith("api/models/visgate/tiny/tree/"):
            return answer_of(body=json.dumps(tree).encode())
        if path.startswith("api/models/visgate/tiny"):
            return answer_of(body=json.dumps(info).encode())
        name = path.removeprefix("visgate/tiny/resolve/").split("/", 1)[-1]
        if name in files:
            headers = {"etag": f'"{name.replace("/", "-")}"', "x-repo-commit": COMMIT}
            return answer_of(body=files[name], headers=headers, content_type="application/octet-stream")
        return answer_of(status=404, headers={"x-error-code": "EntryNotFound"})

    return answer


@pytest.fixture
def hub_server(make_server: "Callable[..., Server]", answer_of: Callable[..., Any], tiny_volume: Path) -> "Server":
    return make_server(hub_of(tiny_volume / "models/visgate/tiny", answer_of))


def test_a_model_from_the_hub_is_drawn_with_and_kept_on_the_volume(
    start_worker: "Callable[..., Worker]", fresh_queue: "RunpodQueue", hub_server: "Server", tmp_path: Path
) -> None:
    hub = {"HF_ENDPOINT": hub_server.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    environ = fresh_queue.environment(tmp_path) | hub
    worker = start_worker(environ)
    fresh_queue.add("job-1", fresh_queue.job_input(TASK_ID))
    result = JobResult.from_runpod({"status": "COMPLETED", **fresh_queue.result("job-1")})
    assert result is not None
    assert result.error is None, worker.output()
    assert result.load is not None
    assert result.load.source == "hub"
    assert sources.volume_hub_cache(tmp_path, "visgate/tiny", None) is not None
    downloads = [request for request in hub_server.requests if "/resolve/" in request.path]
    assert {request.headers.get("authorization") for request in downloads} == {f"Bearer {TOKEN}"}
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
