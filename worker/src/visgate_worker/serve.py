"""The serving process: the unmodified Runpod SDK, the model, and nothing that has to outlive a crash.

The only module that imports runpod, and it does so late.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pydantic import ValidationError

from visgate_contract.addresses import EgressPolicy
from visgate_contract.errors import VisgateError
from visgate_contract.events import LoadProgress
from visgate_worker.link import LINK_FD_ENV, Answers, Beat, Fatal, Link, Loaded, Mark, Ready
from visgate_worker.logs import Masker, Tail, TailHandler, log_to
from visgate_worker.model import Frameworks, LoadedModel, as_load_failure, find, load
from visgate_worker.places import FINISHING, Places
from visgate_worker.settings import Improve, Settings
from visgate_worker.sources.folder import ModelFolder
from visgate_worker.sources.read_ahead import ReadAhead

STARTED_AT_ENV = "VISGATE_STARTED_AT"
BEAT_INTERVAL_S = 5.0

# Libraries read these at import. The SDK prints at DEBUG otherwise, job outputs included.
_QUIET = {
    "RUNPOD_LOG_LEVEL": "INFO",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

log = logging.getLogger("visgate_worker.serve")  # this module runs as __main__


def main() -> int:
    """Serve jobs until told to stop; returns the exit status."""
    first_line = time.time()
    interpreter_s = max(0.0, first_line - float(os.environ.get(STARTED_AT_ENV, first_line)))
    link = Link(int(os.environ[LINK_FD_ENV]))
    answers = Answers()
    threading.Thread(target=_hear, args=(answers,), name="lifeline", daemon=True).start()
    log_to(logging.StreamHandler(sys.stdout))
    try:
        settings = Settings.from_environment()
    except VisgateError as error:
        link.send(Fatal(code=error.code, detail=error.detail, hint=error.hint))
        return 1
    _serve(settings, link, answers, round(interpreter_s, 6))
    return 0


def _serve(settings: Settings, link: Link, answers: Answers, interpreter_s: float) -> None:
    mask, tail = Masker(os.environ).text, Tail()
    logging.getLogger().addHandler(TailHandler(tail, mask))
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # torchao makes it warn of what nobody can heed
    start = _Start(settings, link, mask)
    began = time.perf_counter()
    import runpod  # noqa: PLC0415, takes more than a second

    sdk_import_s = round(time.perf_counter() - began, 6)
    from runpod.serverless.modules import rp_scale  # noqa: PLC0415

    from visgate_worker.handler import JobHandler  # noqa: PLC0415, with the SDK's imports already done
    from visgate_worker.inputs import ImageInputs  # noqa: PLC0415
    from visgate_worker.lane import Lane  # noqa: PLC0415
    from visgate_worker.loras import loras_of  # noqa: PLC0415
    from visgate_worker.services import ColdStart, Services  # noqa: PLC0415
    from visgate_worker.uploads import Uploader  # noqa: PLC0415

    egress = EgressPolicy(allow_loopback=settings.allow_loopback)
    places = Places(settings.max_batch)
    # The SDK takes jobs as long as there are fewer than it may have at once, and has no way to say when: this is its
    # own fetcher, which waits for the device.
    rp_scale.get_job = places.gated(rp_scale.get_job)
    handler = JobHandler(
        Services(
            settings=settings,
            link=link,
            answers=answers,
            model=start.model,
            images=ImageInputs(egress),
            loras=loras_of(settings, egress),
            uploader=Uploader(),
            send_update=runpod.serverless.progress_update,
            mask=mask,
            cold_start=ColdStart(interpreter_s, sdk_import_s),
            loading=lambda: start.progress,
            lane=Lane(max_batch=settings.max_batch, when_idle=start.improve),
            places=places,
            log_tail=tail,
        )
    )

    async def handle(job: dict[str, Any]) -> dict[str, Any]:
        return await handler(job)

    runpod.serverless.start({"handler": handle, "concurrency_modifier": start})


class _Start:
    """The work beside the SDK's loop: loading the model, and signs of life.

    The frameworks are imported while the SDK is, which mostly waits for a probe of the CPU. The model itself is loaded
    once the SDK's loop runs: the SDK asks for the concurrency in that loop, each time before it takes a job, and after
    it has forked its ping process, which must not inherit a GPU in use.

    Args:
        settings: The worker's settings.
        link: Way to the supervisor.
        mask: Removes secrets from text.
    """

    def __init__(self, settings: Settings, link: Link, mask: Callable[[str], str]) -> None:
        self.model: Future[LoadedModel] = Future()
        self.progress: LoadProgress | None = None
        self._settings = settings
        self._link = link
        self._mask = mask
        self._beating: asyncio.Task[None] | None = None
        self._is_running = threading.Event()
        threading.Thread(target=self._load, name="loader", daemon=True).start()

    def __call__(self, _current: int) -> int:
        """Return how many jobs may be in hand at once: those at the device, and those whose files are on their way."""
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._beat())
            self._link.send(Ready())
            self._is_running.set()
        return self._settings.max_batch + FINISHING

    async def _beat(self) -> None:
        interval_s = min(BEAT_INTERVAL_S, self._settings.hang_timeout_s / 4)
        while True:
            self._link.send(Beat())
            await asyncio.sleep(interval_s)

    def _load(self) -> None:
        try:
            with as_load_failure():
                frameworks = Frameworks()
                found = find(self._settings, report=self._report)
                self._read_ahead(found.folder)
                framework_import_s = frameworks.wait(found.capability)
                self._is_running.wait()
                model = load(found, self._settings, framework_import_s=framework_import_s)
        except VisgateError as error:
            log.exception("the worker cannot serve its model")
            self._link.send(Fatal(code=error.code, detail=self._mask(error.detail), hint=self._mask(error.hint)))
            self.model.set_exception(error)
        else:
            self._link.send(Loaded())
            self.model.set_result(model)

    def improve(self) -> None:
        """Look for a better runtime, or keep what the present one has compiled; on the device's thread."""
        if self._settings.improve is not Improve.OFF:
            self.model.result().runtime.improve(lambda _step: self._link.send(Mark()))

    def _report(self, progress: LoadProgress) -> None:
        self.progress = progress

    def _read_ahead(self, folder: ModelFolder) -> None:
        def on_bytes(done: int, total: int) -> None:
            self.progress = LoadProgress(source=folder.source, done_bytes=done, total_bytes=total)

        ReadAhead(folder.weights(), on_bytes=on_bytes)


def _hear(answers: Answers) -> None:
    """Take the supervisor's answers; end this process and those it has started when it is gone and closes the pipe."""
    for line in sys.stdin.buffer:
        try:
            answers.take(line)
        except ValidationError:
            log.warning("an answer of the supervisor was not understood")
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
