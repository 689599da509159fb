"""Runtimes against the eager pipeline, for models in real sizes with random weights; nothing is downloaded.

`make bench-gpu` runs where there is a GPU and writes bench/results_gpu.json, with the machine named. `--tiny` runs the
same with tiny models anywhere, which says nothing about speed and shows that it works.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results_gpu.json")
POLICIES = ("compiled", "cached", "quantised", "fast", "offload")
DEADLINE_S = 1800.0


@dataclass(frozen=True, slots=True)
class Case:
    """A model and what it is asked for.

    Args:
        name: Key of `gpu_models.BUILDERS`.
        real: Input of the task in the size that the model is for.
        tiny: The same for a tiny model.
    """

    name: str
    real: dict[str, Any]
    tiny: dict[str, Any]


_TINY = {"task": "text2img", "prompt": "a red fox", "width": 64, "height": 64, "steps": 12}
CASES = (
    Case("sdxl", {"task": "text2img", "prompt": "a red fox", "width": 1024, "height": 1024, "steps": 30}, _TINY),
    Case("flux", {"task": "text2img", "prompt": "a red fox", "width": 1024, "height": 1024, "steps": 28}, _TINY),
    Case(
        "wan",
        {"task": "text2video", "prompt": "a red fox", "width": 832, "height": 480, "num_frames": 81, "steps": 30},
        {"task": "text2video", "prompt": "a red fox", "width": 64, "height": 64, "num_frames": 5, "steps": 12},
    ),
)


def run(names: Sequence[str], policies: Sequence[str], *, tiny: bool) -> list[dict[str, Any]]:
    """Measure models under policies, one process for each pair.

    Args:
        names: Models.
        policies: What the operator wants.
        tiny: With tiny models.
    """
    measured = []
    for case in CASES:
        if case.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="visgate-bench-") as scratch:
            model = Path(scratch) / "models" / "bench" / case.name
            _build(case.name, model, tiny=tiny)
            for policy in policies:
                # Each process starts as a new worker does: nothing known, nothing compiled, nothing in the page cache.
                shutil.rmtree(Path(scratch) / ".visgate", ignore_errors=True)
                shutil.rmtree(Path(scratch) / "cache", ignore_errors=True)
                _forget(model)
                figures = _process("bench.gpu_run", str(model), policy, json.dumps(case.tiny if tiny else case.real))
                measured.append({"model": case.name, "policy": policy, "tiny": tiny, **json.loads(figures)})
    return measured


def _build(name: str, folder: Path, *, tiny: bool) -> None:
    code = (
        "import sys, torch; from bench import gpu_models\n"
        "tiny = sys.argv[3] == 'tiny'; gpu = torch.cuda.is_available() and not tiny\n"
        "made = gpu_models.build(sys.argv[1], tiny=tiny, device='cuda' if gpu else 'cpu',\n"
        "                        dtype=torch.float32 if tiny else torch.bfloat16)\n"
        "made.save_pretrained(sys.argv[2])\n"
    )
    _python("-c", code, name, str(folder), "tiny" if tiny else "real")


def _process(module: str, *arguments: str) -> str:
    return _python("-m", module, *arguments).splitlines()[-1]


def _python(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, *arguments], check=False, capture_output=True, text=True, timeout=DEADLINE_S
    )
    if done.returncode != 0:
        message = f"{' '.join(arguments[:3])} failed: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return done.stdout


def _forget(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def show(measured: Sequence[dict[str, Any]]) -> Table:
    """Return the table of what was measured."""
    device = measured[0]["device"] if measured else ""
    table = Table(title=f"Runtimes on {device}, random weights", title_justify="left")
    for column in (
        "model",
        "policy",
        "runtime",
        "import s",
        "load s",
        "first s",
        "eager s",
        "warm-up s",
        "s",
        "faster",
        "dB",
    ):
        table.add_column(column, justify="left" if column in {"model", "policy", "runtime"} else "right")
    table.add_column("eager GB", justify="right")
    table.add_column("GB", justify="right")
    for one in measured:
        table.add_row(
            one["model"],
            one["policy"],
            one["runtime"],
            *(f"{one[name]:.2f}" for name in ("import_s", "load_s", "first_s", "eager_s", "warm_up_s", "seconds")),
            f"{one['eager_s'] / one['seconds']:.2f}",
            f"{one['psnr_db']:.1f}",
            f"{one['eager_peak_bytes'] / 1e9:.1f}",
            f"{one['peak_bytes'] / 1e9:.1f}",
        )
    return table


def main() -> int:
    """Run what the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--tiny", action="store_true", help="tiny models, on any machine")
    given = parser.parse_args()
    if not given.tiny and not _has_gpu():
        sys.stderr.write("There is no GPU here; --tiny shows that the benchmark works.\n")
        return 1
    measured = run(given.models, given.policies, tiny=given.tiny)
    Console().print(show(measured))
    if not given.tiny:
        RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


def _has_gpu() -> bool:
    return _python("-c", "import torch; print(torch.cuda.is_available())").strip() == "True"


if __name__ == "__main__":
    sys.exit(main())
