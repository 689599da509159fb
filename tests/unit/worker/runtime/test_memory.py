"""Memory that does not suffice, and memory that is given back; on the CPU, with a real allocator that refuses."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.worker.runtime.conftest import probe
from visgate_worker.failures import JobCancelledError
from visgate_worker.lane import Lane
from visgate_worker.runtime.recipe import Policy

if TYPE_CHECKING:
    from visgate_worker.runtime.ladder import LadderRuntime

# The process may have 96 MB more than it has: not enough for sixteen megapixels, tiled or not, and enough for little.
PROGRAM = """
import json, resource, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import torch
from tests.unit.worker.runtime.conftest import probe
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.compiled import CompiledCode
from visgate_worker.runtime.ladder import LadderRuntime, Means
from visgate_worker.runtime.recipe import Hardware, Policy
from visgate_worker.runtime.verdicts import Verdicts
torch.set_num_threads(1)
here = Path(sys.argv[2])
verdicts = Verdicts(here, gpu="cpu", family="flux", model="tiny", versions="1")
means = Means(Policy.EAGER, Hardware("cpu", "cpu"), "flux", verdicts, CompiledCode(here, here, key="k"), multiple=16)
runtime = LadderRuntime(means)
runtime.load(Path(sys.argv[1]))
small = lambda: runtime.generate([probe(1)], lambda _: None)[0].size
small()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (96 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    runtime.generate([probe(1, width=4096, height=4096)], lambda _: None)
except JobFailedError as error:
    print(json.dumps([error.code, error.detail, error.hint, small()]))
"""


def test_a_picture_that_is_too_large_is_told_with_what_to_try_and_the_worker_goes_on(
    flux_folder: Path, tmp_path: Path
) -> None:
    """Runs a process that may not have more memory, which imports the frameworks: some ten seconds."""
    command = [sys.executable, "-c", PROGRAM, str(flux_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    said = (
        '["out_of_memory", "4096 x 4096 does not fit into this machine\'s memory.", '
        '"Try 2896 x 2896, or use a larger GPU.", [16, 16]]'
    )
    assert done.stdout.strip() == said, done.stderr


def test_a_cancelled_picture_ends_within_a_step_and_its_memory_is_free(
    ladder_of: "Callable[..., LadderRuntime]",
) -> None:
    runtime = ladder_of(Policy.EAGER)
    seen: list[weakref.ref[Any]] = []
    transformer = runtime._eager.pipeline.transformer
    handle = transformer.register_forward_hook(lambda _module, _given, made: seen.append(weakref.ref(made[0])))
    idle = threading.Event()
    lane = Lane(when_idle=idle.set)

    def cancel(step: int) -> None:
        if step == 2:
            raise JobCancelledError

    with pytest.raises(JobCancelledError):
        lane.submit(runtime, probe(12), cancel).result(60)
    assert idle.wait(60)
    lane.close()
    handle.remove()
    assert len(seen) == 2
    gc.collect()
    assert [one() for one in seen] == [None, None]
