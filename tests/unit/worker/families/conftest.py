"""A tiny pipeline of every family with random weights, made without a download, and the worker that serves it.

The sizes follow the dimensions of diffusers' own unit tests (Apache-2.0). Sizes that decide what a caller may ask,
such as the factor of the autoencoder, are those of the real models where that is cheap.
"""

import asyncio
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visgate_contract.addresses import EgressPolicy
from visgate_contract.capabilities import Capability
from visgate_contract.jobs import JobResult
from visgate_worker.fetch import Fetcher
from visgate_worker.handler import JobHandler
from visgate_worker.inputs import ImageInputs
from visgate_worker.link import Answers, Link
from visgate_worker.logs import Masker
from visgate_worker.loras import Loras
from visgate_worker.model import LoadedModel, find, import_frameworks, load
from visgate_worker.services import ColdStart, Services
from visgate_worker.settings import Settings
from visgate_worker.uploads import Uploader

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Server

TASK_ID = "task_" + "0" * 26


@dataclass
class Served:
    """A worker with one tiny model, in this process."""

    handler: JobHandler
    model: LoadedModel
    store: "Server"
    results: list[JobResult] = field(default_factory=list)

    def run(self, **params: Any) -> JobResult:
        """Do one job through the handler and return what Runpod would hold of it."""
        job_input = {
            "task_id": TASK_ID,
            "model_id": self.model.model_id,
            "params": {"prompt": "a red fox", "seed": 7, "steps": 2} | params,
            "uploads": [
                {"put_url": f"{self.store.url}/{n}", "cdn_url": f"https://cdn/{n}"}
                for n in range(params.get("num_images", 1))
            ],
            "announced": True,
        }
        answer = asyncio.run(self.handler({"id": "job-1", "input": json.loads(json.dumps(job_input))}))
        error = answer.pop("error", None)
        status = "FAILED" if error else "COMPLETED"
        result = JobResult.from_runpod({"status": status, "output": answer, "error": error})
        assert result is not None
        return result

    def files(self, **params: Any) -> list[bytes]:
        """Do one job and return the files that it stored."""
        before = len(self.store.requests)
        result = self.run(**params)
        assert result.error is None, result.error
        self.results.append(result)
        return [request.body for request in self.store.requests[before:]]


@dataclass
class Outside:
    """What a worker reaches the world through."""

    uploader: Uploader
    images: ImageInputs
    loras: Loras
    link: Link


@pytest.fixture(scope="session")
def families_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="session")
def built_family(families_volume: Path) -> Callable[[str], Settings]:
    """Make and save a tiny model, once; returns the settings of its worker. The builders bring torch and diffusers."""

    def build(name: str) -> Settings:
        model_id = f"tiny/{name}"
        folder = families_volume / "models" / model_id
        if not folder.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of libraries, while they are imported
                from tests.unit.worker.families.tiny import BUILDERS

                BUILDERS[name]().save_pretrained(folder)
        return Settings.model_validate({"model_id": model_id, "volume_path": families_volume})

    return build


@pytest.fixture(scope="session")
def lora_of_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make LoRA weights for a tiny model, once; returns the file."""

    def build(name: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / "loras" / name
        if not folder.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of libraries, while they are imported
                from tests.unit.worker.families.tiny import save_lora

                save_lora(name, folder)
        (file,) = folder.glob("*.safetensors")
        return file

    return build


@pytest.fixture(scope="session")
def capability_of_family(built_family: Callable[[str], Settings]) -> Callable[[str], Capability]:
    return lambda name: find(built_family(name)).capability


@pytest.fixture(scope="session")
def small_editors() -> Iterator[None]:
    """Let Qwen's editors, which bring every picture to a million pixels, do with a fraction of them."""
    with pytest.MonkeyPatch.context() as patch:
        for suffix in ("", "_inpaint", "_plus"):
            module = importlib.import_module(f"diffusers.pipelines.qwenimage.pipeline_qwenimage_edit{suffix}")
            usual = module.calculate_dimensions
            patch.setattr(module, "calculate_dimensions", lambda area, ratio, usual=usual: usual(area // 256, ratio))
        yield


@pytest.fixture(scope="session")
def serve_family(
    built_family: Callable[[str], Settings],
    make_lasting_server: "Callable[[], Server]",
    small_editors: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Served]]:
    """Give the worker of a family; the models are tiny, so all of them stay in memory."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    serving: dict[str, Served] = {}
    uploader = Uploader(first_wait_s=0.01)
    images = ImageInputs(EgressPolicy(allow_loopback=True))
    loras = Loras(Fetcher(EgressPolicy(allow_loopback=True)), tmp_path_factory.mktemp("kept"))
    store = make_lasting_server()

    def serve(name: str) -> Served:
        os.set_blocking(read_end, False)
        _drain(read_end)
        if name not in serving:
            serving[name] = _serve(built_family(name), store, Outside(uploader, images, loras, Link(write_end)))
        return serving[name]

    yield serve
    uploader.close()
    images.close()
    loras.close()
    os.close(read_end)
    os.close(write_end)


def _drain(read_end: int) -> None:
    try:
        while os.read(read_end, 1_000_000):
            pass
    except BlockingIOError:
        return


def _serve(settings: Settings, store: "Server", outside: "Outside") -> Served:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, while they are imported
        found = find(settings)
        loaded = load(found, settings, framework_import_s=import_frameworks(found.capability))
    sys.modules["torch"].set_num_threads(1)  # for models this small, threads cost more than they do
    future: Future[LoadedModel] = Future()
    future.set_result(loaded)
    services = Services(
        settings=settings,
        link=outside.link,
        answers=Answers(),
        model=future,
        images=outside.images,
        loras=outside.loras,
        uploader=outside.uploader,
        send_update=lambda _job, _update: None,
        mask=Masker({}).text,
        cold_start=ColdStart(0.1, 0.2),
    )
    return Served(JobHandler(services), loaded, store)
