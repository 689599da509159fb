"""`pulumi up` and `refresh` of 1, 16 and 64 endpoints at a usual API latency.

The anchor of a time is the same program with no-op resources, measured in the same run, plus the least that the calls
can take: one create each, four at a time (the Python dynamic host's slots), at the emulator's latency.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.report import Measurement
from pulumi_visgate.local.emulator.testing import EmulatorServer, RunpodEmulator
from pulumi_visgate.local.toolchain import search_path

ROOT = Path(__file__).resolve().parent.parent
COUNTS = (1, 16, 64)
LATENCY_S = 0.25
QUOTA = 60  # calls a minute, what Runpod grants a user by default
MINUTE_S = 60.0
SLOTS = 4


def measure() -> list[Measurement]:
    """Run the program in all sizes, with endpoints and with no-op resources."""
    with tempfile.TemporaryDirectory(prefix="visgate-bench-") as folder:
        home = Path(folder)
        with EmulatorServer(home / "data", home / "volumes") as server:
            emulator = RunpodEmulator(server)
            emulator.set_quota(per_minute=100_000)
            emulator.set_latency(LATENCY_S * 1000)
            figures = [figure for count in COUNTS for figure in _of(count, emulator, home)]
            return figures + _within_quota(emulator, home)


def _of(count: int, emulator: RunpodEmulator, home: Path) -> list[Measurement]:
    bare = _Stack(home / f"no-op-{count}", {"BENCH_KIND": "no-op", "BENCH_COUNT": str(count)})
    no_op_up, no_op_refresh = bare.run("up"), bare.run("refresh")
    bare.run("destroy")
    stack = _Stack(home / f"up-{count}", {"BENCH_KIND": "endpoints", "BENCH_COUNT": str(count), **emulator.env})
    figures: list[Measurement] = []
    waits = -(-count // SLOTS) * LATENCY_S
    for name, verb, anchor in (
        (f"up{count}", "up", no_op_up + waits),
        (f"up{count}_unchanged", "up", no_op_up),
        (f"refresh{count}", "refresh", no_op_refresh + LATENCY_S),
    ):
        emulator.reset_requests()
        seconds = stack.run(verb)
        calls = emulator.requests()
        figures.append(Measurement.of(f"pulumi.{name}.ratio", seconds, "s", anchor=anchor))
        figures += [Measurement.of(f"pulumi.{name}.calls.{kind}", number, "calls") for kind, number in calls.items()]
        figures.append(Measurement.of(f"pulumi.{name}.calls", sum(calls.values()), "calls"))
    stack.run("destroy")
    return figures


def _within_quota(emulator: RunpodEmulator, home: Path) -> list[Measurement]:
    """Run into Runpod's usual quota: the anchor is the one minute that has to be waited for."""
    stack = _Stack(home / "quota", {"BENCH_KIND": "endpoints", "BENCH_COUNT": str(COUNTS[-1]), **emulator.env})
    emulator.set_quota(per_minute=QUOTA)
    seconds = stack.run("up")
    emulator.set_quota(per_minute=100_000)
    told = stack.said.count("request quota for this account is used up")
    stack.run("destroy")
    name = f"pulumi.up{COUNTS[-1]}_quota{QUOTA}"
    return [
        Measurement.of(f"{name}.ratio", seconds, "s", anchor=MINUTE_S),
        Measurement.of(f"{name}.waits_shown", told, "lines"),
    ]


class _Stack:
    """One stack of the benchmark's program on a file backend of its own.

    Args:
        folder: Where its copy of the program and its state go.
        env: Added to the environment.

    Attributes:
        said: What the last operation printed.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        program = folder / "program"
        shutil.copytree(ROOT / "bench" / "program", program)
        (folder / "state").mkdir()
        self._program = program
        self.said = ""
        self._env = {
            **os.environ,
            "PATH": search_path(os.environ),
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": f"{(folder / 'state').as_uri()}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            **env,
        }
        self._pulumi("stack", "init", "bench")

    def run(self, verb: str) -> float:
        """Run one operation and return its seconds."""
        started = time.perf_counter()
        self._pulumi(verb, "--yes", "--non-interactive", "--skip-preview")
        return time.perf_counter() - started

    def _pulumi(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603 - our own command
            [shutil.which("pulumi", path=self._env["PATH"]) or "pulumi", *arguments],
            cwd=self._program,
            env=self._env,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=600,
        )
        self.said = done.stdout
