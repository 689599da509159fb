"""The one model of this worker: found and loaded; the serving process keeps it in memory from job to job."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from visgate_contract.capabilities import CONFIGURED_PARTS, Capability, capability_of
from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.events import LoadReport
from visgate_contract.tasks import Task
from visgate_worker.adapters.adapter import Adapter
from visgate_worker.adapters.signatures import signature_of
from visgate_worker.failures import JobFailedError, summary
from visgate_worker.runtime.base import Runtime
from visgate_worker.settings import Settings
from visgate_worker.sources import ModelFolder, find_model

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory.

    Args:
        model_id: Hub id.
        runtime: What runs it.
        capability: What its pipeline is for.
        report: Where it came from.
        framework_import_s: Seconds that importing torch and diffusers took.
    """

    model_id: str
    runtime: Runtime
    capability: Capability
    report: LoadReport
    framework_import_s: float
    _adapters: dict[Task, Adapter] = field(default_factory=dict, repr=False)

    def adapter(self, task: Task) -> Adapter:
        """Return the adapter of a task, by what the class itself takes.

        Raises:
            ContractError: The model cannot do the task (`task_not_supported`).
        """
        if task not in self._adapters:
            route = self.capability.route(task, model_id=self.model_id)
            taken = signature_of(self.runtime.class_of(route.pipeline))
            self._adapters[task] = Adapter(replace(route, signature=taken))
        return self._adapters[task]

    @property
    def in_memory(self) -> LoadReport:
        """The report of a job that found the model where an earlier one had left it."""
        return LoadReport(source="memory", size_bytes=self.report.size_bytes, seconds=0.0)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be loaded.

    Args:
        model_id: Hub id.
        folder: Where it lies.
        capability: What its pipeline is for.
        seconds: What finding it took; long if it had to be downloaded.
    """

    model_id: str
    folder: ModelFolder
    capability: Capability
    seconds: float


def find(settings: Settings) -> FoundModel:
    """Find the worker's model and see that it can do anything at all, before gigabytes are read.

    Raises:
        VisgateError: `model_not_found`, `model_load_failed` or `task_not_supported`.
    """
    began = time.perf_counter()
    with as_load_failure():
        folder = find_model(settings.volume_path, settings.model_id, settings.model_revision, token=settings.hf_token)
        capability = capability_of(folder.index(), {part: folder.config_of(part) for part in CONFIGURED_PARTS})
    if not capability.tasks:
        capability.route(Task.TEXT2IMG, model_id=settings.model_id)
    return FoundModel(settings.model_id, folder, capability, time.perf_counter() - began)


def import_frameworks(capability: Capability) -> float:
    """Import torch, diffusers and the pipeline's class, which take longer than most models; returns the seconds."""
    began = time.perf_counter()
    from visgate_worker.runtime.eager import import_pipeline  # noqa: PLC0415, brings torch and diffusers

    import_pipeline(capability.pipeline)
    return round(time.perf_counter() - began, 6)


def load(found: FoundModel, *, framework_import_s: float) -> LoadedModel:
    """Bring a model to the device with the eager runtime.

    Args:
        found: What `find` returned.
        framework_import_s: What `import_frameworks` returned.

    Raises:
        VisgateError: `model_load_failed`.
    """
    from visgate_worker.runtime.eager import EagerRuntime  # noqa: PLC0415, brings torch and diffusers

    began = time.perf_counter()
    with as_load_failure():
        runtime = EagerRuntime()
        runtime.load(found.folder.path)
        seconds = found.seconds + time.perf_counter() - began
        size_bytes = found.folder.size_bytes()
    report = LoadReport(source=found.folder.source, size_bytes=size_bytes, seconds=round(seconds, 6))
    log.info("model %s loaded from %s: %d bytes in %.3f s", found.model_id, report.source, size_bytes, seconds)
    return LoadedModel(found.model_id, runtime, found.capability, report, framework_import_s)


@contextmanager
def as_load_failure() -> Iterator[None]:
    """Turn any error into the one that says that the model could not be loaded.

    Raises:
        VisgateError: The one that was raised, or `model_load_failed`.
    """
    try:
        yield
    except VisgateError:
        raise
    except Exception as error:
        detail = f"The model could not be loaded: {summary(error)}"
        hint = "The worker's log says more."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED) from error
