"""One model under one policy, in a process of its own: the cold start by its phases, then eager against the runtime."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

began = time.perf_counter()

ROUNDS = 3


def measure(model: Path, policy: str, request: dict[str, Any]) -> dict[str, Any]:
    """Load a model, draw with the eager pipeline, look for the policy's runtime, draw with it.

    Args:
        model: `<volume>/models/<org>/<name>`.
        policy: What the operator wants; see `visgate_worker.runtime.recipe.Policy`.
        request: Input of the task.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - measured

    from visgate_contract.tasks import TaskInput  # noqa: PLC0415 - measured
    from visgate_worker.model import Frameworks, find, load  # noqa: PLC0415 - measured
    from visgate_worker.runtime.proof import psnr_db  # noqa: PLC0415 - measured
    from visgate_worker.settings import Settings  # noqa: PLC0415 - measured
    from visgate_worker.sources.read_ahead import ReadAhead  # noqa: PLC0415 - measured

    volume = model.parents[2]
    settings = Settings.model_validate(
        {
            "model_id": f"{model.parent.name}/{model.name}",
            "volume_path": volume,
            "cache_path": volume / "cache",
            "runtime": policy,
        }
    )
    params: Any = TypeAdapter(TaskInput).validate_python(request)
    frameworks = Frameworks()
    found = find(settings)
    ReadAhead(found.folder.weights())
    import_s = frameworks.wait(found.capability)
    loaded = load(found, settings, framework_import_s=import_s)
    (generation,) = loaded.adapter(params.task).plan(params, seed=1)

    def draw() -> Any:
        (made,) = loaded.runtime.generate([generation], lambda _: None)
        return made

    first_s, expected = _timed(draw)
    until_picture_s = time.perf_counter() - began
    eager = loaded.runtime.report()
    eager_s = statistics.median(_timed(draw)[0] for _ in range(ROUNDS))
    warm_up_s, _ = _timed(loaded.runtime.improve)
    first_after_s, made = _timed(draw)
    seconds = statistics.median(_timed(draw)[0] for _ in range(ROUNDS))
    report = loaded.runtime.report()
    return {
        "device": report.device,
        "runtime": report.name,
        "began_with": eager.name,
        "fallbacks": [one.model_dump() for one in report.fallbacks],
        "import_s": import_s,
        "load_s": loaded.report.seconds,
        "size_bytes": loaded.report.size_bytes,
        "first_s": first_s,
        "until_picture_s": until_picture_s,
        "eager_s": eager_s,
        "eager_peak_bytes": eager.peak_memory_bytes,
        "warm_up_s": warm_up_s,
        "first_after_s": first_after_s,
        "seconds": seconds,
        "step_s": seconds / generation.steps,
        "peak_bytes": report.peak_memory_bytes,
        "psnr_db": psnr_db(expected, made),
    }


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    made = action()
    return time.perf_counter() - started, made


if __name__ == "__main__":
    figures = measure(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
    sys.stdout.write(json.dumps(figures) + "\n")
