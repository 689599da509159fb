"""The local cloud as a whole: up, down, status. Three processes, and what the service host runs for the stack."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import httpx

from pulumi_visgate.local.environment import cloud_environment, shell_exports, without_key
from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import Home, write_private
from pulumi_visgate.local.host.services import load_records
from pulumi_visgate.local.logs import size_of, tail
from pulumi_visgate.local.processes import base_environment, end_all, free_port, members, python_module, spawn
from pulumi_visgate.local.state import LOOPBACK, CloudState, locked
from pulumi_visgate.local.toolchain import S3_PROGRAM, program, search_path
from visgate_contract.redaction import Redactor

PARTS = ("s3", "emulator", "host")
READY_PATHS = {"s3": "/healthz", "emulator": "/admin/health", "host": "/healthz"}
START_S = 60.0
_PROBE_S = 2.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One process of the cloud.

    Args:
        name: Part, or name of a service.
        state: `running`, `not answering`, or `stopped`.
        url: Where it listens.
        pid: Its process, if it lives.
        log: Its log file.
        is_service: The service host runs it for the stack.
    """

    name: str
    state: str
    url: str
    pid: int | None
    log: Path
    is_service: bool = False

    @property
    def healthy(self) -> bool:
        """It answers."""
        return self.state == "running"

    @property
    def remedy(self) -> str:
        """The command that starts it again."""
        return "pulumi up --stack local --refresh" if self.is_service else "visgate local up"


@dataclass(frozen=True, slots=True)
class UpReport:
    """What `up` found and did.

    Args:
        state: The cloud.
        started: Parts that this call has started.
        repaired: Those among them that should have been running.
        moved: Parts whose port was taken by somebody else, so that it is a new one.
        environment: What `visgate local env` prints.
    """

    state: CloudState
    started: tuple[str, ...]
    repaired: tuple[str, ...]
    moved: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """Data that `down` has left on the disk.

    Args:
        what: In words.
        path: Where.
        size_bytes: How much.
    """

    what: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DownReport:
    """What `down` did.

    Args:
        stopped: Parts and services that were ended.
        swept: Processes that nobody had on record.
        kept: Data that is still there.
    """

    stopped: tuple[str, ...]
    swept: tuple[str, ...]
    kept: tuple[Kept, ...]


def up(home: Home, *, environ: Mapping[str, str], say: Callable[[str], None] = lambda _: None) -> UpReport:
    """Start what is not running; a healthy cloud is left alone, a half-dead one is completed.

    Args:
        home: Where it lives.
        environ: Environment of the caller.
        say: Told about each step.

    Raises:
        LocalCloudError: A tool is missing, or a part did not start; what this call had started is ended again.
    """
    path = search_path(environ)
    server = program(S3_PROGRAM, path)
    with locked(home):
        state = CloudState.load(home)
        if state is None:  # a home that was deleted under a running cloud leaves processes that nobody knows
            end_all(members(home.root))
            state = CloudState()
        expected = set(state.processes)
        todo = [part for part in PARTS if not _is_healthy(state, part)]
        for part in todo:
            if process := state.processes.pop(part, None):
                say(f"{part} does not answer: starting it again")
                process.stop()
        moved = _choose_ports(state, todo)
        state.save(home)
        logged = {part: size_of(home.log_file(part)) for part in todo}
        environment = base_environment({**environ, "PATH": path}, home=home.root)
        try:
            for part in todo:
                argv, extra = _command(part, home, state, server)
                state.processes[part] = spawn(argv, environment | extra, home.log_file(part))
                state.save(home)  # at once: whatever happens to this process now, the new one is known
            _await_ready(home, state, logged)
        except BaseException:
            for part in todo:
                if process := state.processes.pop(part, None):
                    process.stop()
            state.save(home)
            raise
        variables = cloud_environment(home, state, path=path, environ=environ)
        write_private(home.env_file, shell_exports(without_key(variables)))
    repaired = tuple(part for part in todo if part in expected)
    return UpReport(state, tuple(todo), repaired, tuple(moved), variables)


def down(home: Home, *, purge: bool = False) -> DownReport:
    """End every process of the cloud and see that none is left.

    Args:
        home: Where it lives.
        purge: Delete its data too.

    Raises:
        LocalCloudError: A process would not end.
    """
    if not home.root.exists():
        end_all(members(home.root))
        return DownReport((), (), ())
    with locked(home):
        state = CloudState.load(home)
        stopped, swept = _stop_all(home, state or CloudState())
        if state:
            state.processes.clear()
            state.save(home)
        home.env_file.unlink(missing_ok=True)
        if purge:
            for path in (home.local, home.state, home.logs, home.models):
                shutil.rmtree(path)
            home.forget()
    return DownReport(tuple(stopped), tuple(swept), _kept(home))


def status(home: Home) -> list[PartStatus]:
    """Return every part and service, running or not; nothing if no cloud was ever started here.

    Args:
        home: Where it lives.
    """
    state = CloudState.load(home)
    if state is None:
        return []
    found = []
    for part in PARTS:
        process = state.processes.get(part)
        alive = process is not None and process.alive
        healthy = alive and _answers(state.url(part) + READY_PATHS[part])
        word = "running" if healthy else "not answering" if alive else "stopped"
        url = state.url(part) if part in state.ports else ""
        found.append(PartStatus(part, word, url, process.pid if process and alive else None, home.log_file(part)))
    for record in load_records(home):
        alive = record.process.alive
        word = "running" if alive else "stopped"
        log = home.log_file(record.name)
        found.append(
            PartStatus(record.name, word, record.url, record.process.pid if alive else None, log, is_service=True)
        )
    return found


def _is_healthy(state: CloudState, part: str) -> bool:
    process = state.processes.get(part)
    return process is not None and process.alive and _answers(state.url(part) + READY_PATHS[part])


def _choose_ports(state: CloudState, todo: list[str]) -> list[str]:
    moved = []
    for part in todo:
        before = state.ports.get(part)
        state.ports[part] = free_port(before)
        if before is not None and state.ports[part] != before:
            moved.append(part)
    return moved


def _command(part: str, home: Home, state: CloudState, server: Path) -> tuple[list[str], dict[str, str]]:
    port = str(state.ports[part])
    if part == "s3":
        listen = ["--port", f"{LOOPBACK}:{port}", "--health", READY_PATHS["s3"], "--quiet"]
        argv = [str(server), *listen, "posix", "--sidecar", str(home.s3_metadata), str(home.s3)]
        secret = state.s3_secret_access_key.get_secret_value()
        return argv, {"ROOT_ACCESS_KEY": state.s3_access_key_id, "ROOT_SECRET_KEY": secret}
    if part == "emulator":
        folders = ["--data", str(home.emulator), "--volumes", str(home.s3)]
        return python_module("pulumi_visgate.local.emulator", "--port", port, *folders), {}
    return python_module("pulumi_visgate.local.host", "--home", str(home.root)), {}


def _await_ready(home: Home, state: CloudState, logged: Mapping[str, int]) -> None:
    deadline = monotonic() + START_S
    waiting = list(logged)
    while waiting:
        for part in list(waiting):
            if _answers(state.url(part) + READY_PATHS[part]):
                waiting.remove(part)
            elif not state.processes[part].alive:
                raise _failed(home, state, part, "ended before it was ready", since=logged[part])
        if waiting and monotonic() > deadline:
            raise _failed(home, state, waiting[0], f"was not ready after {START_S:.0f} s", since=logged[waiting[0]])
        if waiting:
            sleep(_POLL_S)


def _failed(home: Home, state: CloudState, part: str, why: str, *, since: int) -> LocalCloudError:
    log = home.log_file(part)
    end = Redactor(state.secrets()).text("\n".join(tail(log, since=since)))
    return LocalCloudError(f"Part {part} of the local cloud {why}. The end of its log:\n{end}", hint=f"See {log}.")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_PROBE_S, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _stop_all(home: Home, state: CloudState) -> tuple[list[str], list[str]]:
    # The host first, as it ends its services and would start them again; then whatever it can no longer end.
    stopped = [part for part in reversed(PARTS) if (process := state.processes.get(part)) and process.stop()]
    stopped += [record.name for record in load_records(home) if record.process.stop()]
    strays = {process.pid: f"{process.name()} ({process.pid})" for process in members(home.root)}
    if remaining := end_all(members(home.root)):
        detail = f"These processes of the local cloud do not end: {', '.join(str(p.pid) for p in remaining)}."
        raise LocalCloudError(detail, hint="End them by hand, then run `visgate local down` again.")
    return stopped, list(strays.values())


def _kept(home: Home) -> tuple[Kept, ...]:
    places = (
        ("the Runpod emulator's account", home.emulator),
        ("buckets and network volumes", home.s3),
        ("Pulumi's state", home.state),
        ("models", home.models),
        ("logs", home.logs),
    )
    sizes = ((what, path, _size_bytes(path)) for what, path in places)
    return tuple(Kept(what, path, size) for what, path, size in sizes if size)


def _size_bytes(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
