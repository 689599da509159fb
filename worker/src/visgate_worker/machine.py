"""What the machine itself says: whether its GPU answers, and whether its disk has room for a job's files.

Asked by the supervisor, since a process that uses a lost GPU hangs in it. Never imports torch.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile

from visgate_worker.watchdog import Cause, Verdict

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 32 * 1024 * 1024
GPU_PROGRAM = "nvidia-smi"  # comes with the driver
GPU_INTERVAL_S = 30.0
GPU_ANSWER_S = 20.0
SURE = 2  # one answer can fail for other reasons


class Machine:
    """Looks at the machine.

    Args:
        gpu_interval_s: Seconds between two looks at the GPU.
    """

    def __init__(self, *, gpu_interval_s: float = GPU_INTERVAL_S) -> None:
        self._gpu_interval_s = gpu_interval_s
        self._lost: str | None = None

    def verdict(self) -> Verdict | None:
        """Tell whether the worker has to end."""
        if self._lost is not None:
            return Verdict(Cause.GPU, f"The GPU is lost: {self._lost}.", "Send the request again.")
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if free < MIN_FREE_BYTES:
            detail = f"The worker's disk is full: {free // 1024} KiB are free."
            return Verdict(Cause.DISK, detail, "Give the endpoint's workers a larger disk.")
        return None

    async def watch_gpu(self) -> None:
        """Look at the GPU again and again, where there was one at first."""
        number, failed = await self._gpus(), 0
        if not isinstance(number, int) or number == 0:
            return
        while failed < SURE:
            await asyncio.sleep(self._gpu_interval_s)
            found = await self._gpus()
            reason = found if isinstance(found, str) else f"{found} of {number} answer"
            failed = 0 if found == number else failed + 1
            if failed:
                log.warning("%s: %s", GPU_PROGRAM, reason)
        self._lost = reason

    @staticmethod
    async def _gpus() -> int | str:
        """Return how many GPUs answer, or why nothing is known."""
        program = shutil.which(GPU_PROGRAM)
        if program is None:
            return "there is no driver"
        asked = await asyncio.create_subprocess_exec(
            *(program, "--query-gpu=uuid", "--format=csv,noheader"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(GPU_ANSWER_S):
                said, _ = await asked.communicate()
        except TimeoutError:
            return f"no answer within {GPU_ANSWER_S:g} s"
        finally:
            if asked.returncode is None:
                asked.kill()
                with contextlib.suppress(TimeoutError):  # a lost GPU can hold it in the kernel
                    await asyncio.wait_for(asked.communicate(), 1)
        lines = said.decode("utf-8", "replace").split("\n")
        if asked.returncode != 0:
            return lines[0][:200] or f"status {asked.returncode}"
        return sum(line.startswith("GPU-") for line in lines)
