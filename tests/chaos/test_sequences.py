"""Random runs, kills and faults, one after the other, leave nothing behind and nothing twice.

A sequence that fails prints its seed and its steps; `make chaos SEED=…` runs it again.
"""

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from tests.chaos.conftest import SHORT
from tests.chaos.plan import CANARY, OPERATIONS, REQUEST_FAULTS, Kill, Plan, Step, drawn, fault_kinds, program
from tests.engine.conftest import Stack, kill_engine, until
from tests.s3 import S3_SECRET

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

LATENCY_MS = 60
HOLD_MS = 60_000
ARGUMENTS = {
    "up": ("up", "--yes", "--skip-preview", "--parallel", "16"),
    "refresh": ("refresh", "--yes", "--skip-preview"),
    "destroy": ("destroy", "--yes", "--skip-preview"),
}


@dataclass
class Sequence:
    """One sequence under way."""

    plan: Plan
    stack: Stack
    emulator: RunpodEmulator
    runpod: RunpodClient
    doubtful: bool = False
    before: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Carry everything out, then see that all is as the program says, and then gone."""
        self.tell(f"seed {self.plan.seed}: make chaos SEED={self.plan.seed}")
        self.emulator.set_latency(LATENCY_MS)
        self.before = self.folders()
        for step in self.plan.steps:
            self.do(step)
        self.emulator.clear_faults()
        last = self.plan.steps[-1]
        self.command("cancel", "--yes", "dev", ok=None)
        self.command(*self.arguments("up"))
        self.exactly(last)
        self.command("preview", "--expect-no-changes", "--diff")
        self.command(*ARGUMENTS["destroy"])
        assert self.emulator.account()["empty"], self.emulator.account()
        assert self.folders() == self.before

    def do(self, step: Step) -> None:
        """Carry out one step."""
        (self.stack.folder / "__main__.py").write_text(program(step.items))
        _model(self.stack.folder / "model", step.model)
        self.emulator.clear_faults()
        self.tell(f"--- {step.command}\n{program(step.items)}")
        for rule in step.faults:
            self.tell(f"fault {rule}")
            self.emulator.fault(**rule)
        arguments = self.arguments(step.command)
        if step.kill is not None:
            whole = self.killed(arguments, step.kill)
            self.command("cancel", "--yes", "dev", ok=None)
        else:
            whole = self.command(*arguments, ok=None if step.faults else True)
        if step.faults or not whole:
            self.doubtful = self.doubtful or (step.deletes and not whole)  # a list that lags is not the last word
        else:
            self.doubtful = False
        if step.command == "up" and whole and not self.doubtful:
            self.emulator.clear_faults()
            self.exactly(step)

    def arguments(self, command: str) -> tuple[str, ...]:
        """Return the command as a person would type it, who looks first after a deletion was broken off."""
        return (*ARGUMENTS[command], *(["--refresh"] if self.doubtful and command != "refresh" else []))

    def command(self, *arguments: str, ok: bool | None = True) -> bool:
        """Run a command and tell whether it went through; with `ok` None it may fail, but has to say why."""
        started = time.monotonic()
        done = self.stack.run(*arguments, ok=False)
        self.tell(f"{arguments[0]}: exit {done.code} after {time.monotonic() - started:.1f} s")
        if ok or done.code:
            self.tell(done.text)
        self.decent(done.text)
        assert not ok or done.code == 0, f"{arguments[0]} failed without a fault"
        assert done.code == 0 or "error" in done.text
        return done.code == 0

    def killed(self, arguments: tuple[str, ...], kill: Kill) -> bool:
        """Start a command and kill its engine at a point, if it comes so far; tell whether it went through."""
        seen, rule, files = self.emulator.requests().get(kill.operation, 0), "", self.model_files()
        if kill.done:
            rule = self.emulator.fault("lost_answer", operation=kill.operation, skip=kill.number - 1, delay_ms=HOLD_MS)

        def reached() -> bool:
            if kill.operation == "object":
                return self.model_files() != files
            if rule:
                faults = httpx.get(f"{self.emulator.api_url}/admin/faults", trust_env=False).json()["faults"]
                return rule not in {fault["id"] for fault in faults}
            return self.emulator.requests().get(kill.operation, 0) >= seen + kill.number

        process = self.stack.start(*arguments)
        children: list[psutil.Process] = []
        try:
            until(lambda: process.poll() is not None or reached(), str(kill))
            alive = process.poll() is None
            children = psutil.Process(process.pid).children(recursive=True) if alive else []
            busy = [child for child in children if self.calls_runpod(child)]
            process.kill()
            _, stayed = psutil.wait_procs(busy, timeout=20)
        finally:
            kill_engine(process)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self.tell(f"{arguments[0]} {f'killed at {kill}' if alive else f'ended before {kill}'}")
        self.decent((self.stack.folder / "started.log").read_text())
        assert not stayed, "a provider host outlives its engine"
        return process.returncode == 0

    def calls_runpod(self, process: psutil.Process) -> bool:
        """Tell whether a process has a connection to the API; an engine has provider hosts, too, that it never uses."""
        try:
            return any(
                peer.raddr and peer.raddr.port == self.emulator.server.port for peer in process.net_connections()
            )
        except psutil.Error:
            return False

    def model_files(self) -> dict[str, int]:
        """Return the files of the model that are stored, and when they were written."""
        found: dict[str, int] = {}
        for path in self.emulator.volumes_dir.glob("*/models/acme/tiny/**/*"):
            with contextlib.suppress(FileNotFoundError):
                found[str(path)] = path.stat().st_mtime_ns
        return found

    def decent(self, text: str) -> None:
        """See that what the engine printed holds no secret and no traceback."""
        for secret in (self.emulator.key, CANARY, S3_SECRET):
            assert secret not in text
        assert "Traceback" not in text
        assert "fault of pulumi-visgate" not in text, text

    def exactly(self, step: Step) -> None:
        """See that the account has what the program has, once, under the ids that the state has."""
        ids = self.stack.ids()
        assert {item.name for item in step.items} <= set(ids)
        account = {
            "Endpoint": [item.id for item in self.runpod.list_endpoints()],
            "Template": [item.id for item in self.runpod.list_templates()],
            "NetworkVolume": [item.id for item in self.runpod.list_network_volumes()],
            "Registry": [item.id for item in self.runpod.list_registries()],
            "Delegation": [item.id for item in self.runpod.list_delegations()],
        }
        for noun, there in account.items():
            wanted = [ids[item.name] for item in step.items if OPERATIONS.get(item.kind) == noun]
            assert sorted(there) == sorted(wanted), f"{noun}: the account has {there}, the state {wanted}"
        folders = {ids[item.name] for item in step.items if item.kind in {"NetworkVolume", "Bucket"}}
        assert self.folders() - self.before == folders

    def folders(self) -> set[str]:
        """Return volumes and buckets as the S3 server has them."""
        return {path.name for path in self.emulator.volumes_dir.iterdir() if not path.name.startswith(".")}

    def tell(self, text: str) -> None:
        """Print what is done: pytest shows it when the sequence fails."""
        print(text, flush=True)


def _model(folder: Path, content: int) -> None:
    (folder / "unet").mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", "is": content}))
    (folder / "unet" / "weights.safetensors").write_bytes(bytes([1, content]) * 5000)


def test_a_random_sequence_leaves_no_orphan_and_no_double(
    seed: int, stack: Stack, runpod_emulator: RunpodEmulator, runpod: RunpodClient
) -> None:
    Sequence(drawn(seed), stack, runpod_emulator, runpod).run()


def test_the_short_run_has_every_fault_and_kills_in_every_operation() -> None:
    plans = [drawn(seed) for seed in SHORT]
    assert fault_kinds(plans) == REQUEST_FAULTS
    kills = {step.kill.operation for plan in plans for step in plan.steps if step.kill}
    for verb in ("create", "update", "delete"):
        assert any(operation.startswith(verb) for operation in kills), verb
    assert {step.command for plan in plans for step in plan.steps} == {"up", "refresh", "destroy"}
