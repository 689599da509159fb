"""The one model of this worker: found and loaded; the serving process keeps it in memory from job to job."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from visgate_contract.capabilities import CONFIGURED_PARTS, Capability, capability_of
from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.events import LoadReport
from visgate_contract.tasks import Safety, Task
from visgate_worker.adapters.adapter import Adapter
from visgate_worker.adapters.signatures import signature_of
from visgate_worker.failures import JobFailedError, summary
from visgate_worker.runtime.base import Runtime
from visgate_worker.safety import Checker, ClassifyingChecker
from visgate_worker.settings import Improve, Settings, Verify
from visgate_worker.sources.folder import ModelFolder
from visgate_worker.sources.hub import cache_of
from visgate_worker.sources.search import Places, Report, find_model

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
        find_s: What finding it took.
        improve_s: What looking for a better runtime took before the first job, if that was done.
        classifier: Looks at pictures in place of the model's own checker.
        revision: Its commit; what was asked for, where that is not known.
    """

    model_id: str
    runtime: Runtime
    capability: Capability
    report: LoadReport
    framework_import_s: float
    find_s: float = 0.0
    improve_s: float | None = None
    classifier: Checker | None = None
    revision: str | None = None
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
    def checker(self) -> Checker | None:
        """What looks at pictures, if there is anything that does."""
        return self.classifier or self.runtime.checker

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


def find(settings: Settings, *, report: Report = lambda _: None) -> FoundModel:
    """Find the worker's model and see that it can do anything at all, before gigabytes are read.

    Args:
        settings: The worker's settings.
        report: Told how far a download is.

    Raises:
        VisgateError: `model_not_found`, `model_load_failed` or `task_not_supported`.
    """
    began = time.perf_counter()
    with as_load_failure():
        places = Places(
            volume=settings.volume_path,
            cache=settings.cache_path.expanduser(),
            store_url=settings.models_url,
            store_token=settings.models_token,
            hf_token=settings.hf_token,
            digests=settings.verify is Verify.DIGEST,
        )
        folder = find_model(places, settings.model_id, settings.model_revision, report=report)
        capability = capability_of(folder.index(), {part: folder.config_of(part) for part in CONFIGURED_PARTS})
    if not capability.tasks:
        capability.route(Task.TEXT2IMG, model_id=settings.model_id)
    return FoundModel(settings.model_id, folder, capability, time.perf_counter() - began)


class Frameworks:
    """Imports torch and diffusers, which take longer than most models, in the background."""

    def __init__(self) -> None:
        self._done: Future[float] = Future()
        threading.Thread(target=self._import, name="frameworks", daemon=True).start()

    def _import(self) -> None:
        began = time.perf_counter()
        try:
            import visgate_worker.runtime.eager  # noqa: F401, PLC0415, brings torch and diffusers
        except BaseException as error:  # noqa: BLE001, whoever waits meets it
            self._done.set_exception(error)
        else:
            self._done.set_result(time.perf_counter() - began)

    def wait(self, capability: Capability) -> float:
        """Wait until they are there, and import the pipeline's class; returns the seconds that all of it took."""
        seconds = self._done.result()
        began = time.perf_counter()
        from visgate_worker.runtime.eager import import_pipeline  # noqa: PLC0415, by now it is there

        import_pipeline(capability.pipeline)
        return round(seconds + time.perf_counter() - began, 6)


def import_frameworks(capability: Capability) -> float:
    """Import torch, diffusers and the pipeline's class; returns the seconds."""
    return Frameworks().wait(capability)


def load(found: FoundModel, settings: Settings | None = None, *, framework_import_s: float) -> LoadedModel:
    """Bring a model to the device, with the best runtime that is known to work there.

    Args:
        found: What `find` returned.
        settings: The worker's settings; those of a worker that was told nothing when left out.
        framework_import_s: What `import_frameworks` returned.

    Raises:
        VisgateError: `model_load_failed`.
    """
    from visgate_worker.runtime.choice import runtime_for  # noqa: PLC0415, brings torch and diffusers

    began = time.perf_counter()
    with as_load_failure():
        settings = settings or Settings(model_id=found.model_id)
        runtime = runtime_for(found.capability, settings)
        runtime.load(found.folder.path)
        seconds = found.seconds + time.perf_counter() - began
        folder = found.folder
        report = LoadReport(
            source=folder.source,
            size_bytes=folder.size_bytes(),
            seconds=round(seconds, 6),
            fetched_bytes=folder.fetched_bytes,
            fetch_s=folder.fetch_s,
            repaired_files=folder.repaired_files,
        )
    log.info("model %s loaded from %s: %d bytes in %.3f s", found.model_id, report.source, report.size_bytes, seconds)
    improve_s = None
    if settings.improve is Improve.START:
        began = time.perf_counter()
        runtime.improve()
        improve_s = round(time.perf_counter() - began, 6)
    return LoadedModel(
        found.model_id,
        runtime,
        found.capability,
        report,
        framework_import_s,
        find_s=round(found.seconds, 6),
        improve_s=improve_s,
        revision=found.folder.commit or settings.model_revision,
        classifier=_classifier(settings, runtime.checker),
    )


def _classifier(settings: Settings, own: Checker | None) -> Checker | None:
    """Return the classifier that the platform names, if it does.

    Raises:
        JobFailedError: The platform wants a check, and there is nothing that checks (`model_load_failed`).
    """
    if settings.safety_model is None:
        if own is None and settings.safety is not Safety.OFF:
            detail = f"VISGATE_SAFETY is {settings.safety}, but {settings.model_id} brings no safety checker."
            hint = "Name a classifier of pictures in VISGATE_SAFETY_MODEL."
            raise JobFailedError(detail, hint=hint, code=ErrorCode.MODEL_LOAD_FAILED)
        return None
    token = settings.hf_token.get_secret_value() if settings.hf_token else False
    return ClassifyingChecker(
        settings.safety_model,
        labels=settings.safety_labels,
        threshold=settings.safety_threshold,
        load={"cache_dir": str(cache_of(settings.kept_path)), "token": token},
    )


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
