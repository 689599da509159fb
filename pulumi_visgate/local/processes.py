"""Starting, recognising and ending processes: each in a session of its own, known by pid and start time."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from time import monotonic, sleep

import psutil
from pydantic import BaseModel, ConfigDict

from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import PRIVATE_FILE

CLOUD_ENV = "VISGATE_CLOUD_HOME"
TERMINATE_S = 15.0
KILL_S = 5.0
_POLL_S = 0.02
_SAME_START_S = 2.0  # start times are computed from the boot time, which moves a little when the clock is set
_KEPT_BYTES = 1 << 20

# What a process of the cloud inherits; everything else in the caller's environment may be a secret.
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HF_HOME",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)


class ProcessRef(BaseModel):
    """A process that a reused pid cannot be mistaken for.

    Args:
        pid: Also the id of its process group and session.
        started: Start time in seconds since 1970.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    started: float

    @property
    def alive(self) -> bool:
        """It is still this process, and not a zombie."""
        _reap(self.pid)
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def stop(self, *, grace_s: float = TERMINATE_S) -> bool:
        """End it and its process group: first politely, then not.

        Args:
            grace_s: How long it may take to end by itself.

        Returns:
            True if it was alive.
        """
        if not self.alive:
            return False
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
            _signal_group(self.pid, number)
            # psutil's own wait would also wait until somebody buries the zombie.
            deadline = monotonic() + patience_s
            while self.alive and monotonic() < deadline:
                sleep(_POLL_S)
            if not self.alive:
                break
        # Members that ignored SIGTERM would keep ports and files busy.
        _signal_group(self.pid, signal.SIGKILL)
        return True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS says so with EPERM when only zombies are left
        return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # not a child of this process
        return


def base_environment(environ: Mapping[str, str], *, home: Path) -> dict[str, str]:
    """Return the environment that every process of the cloud starts from: no secret of the caller's.

    Args:
        environ: Environment of the caller.
        home: The cloud's home: marks the process, and whatever it starts, as part of it.
    """
    inherited = {name: environ[name] for name in _INHERITED if name in environ}
    bypass = ",".join(filter(None, [environ.get("NO_PROXY") or environ.get("no_proxy"), "127.0.0.1", "localhost"]))
    return inherited | {
        CLOUD_ENV: str(home.resolve()),
        "NO_PROXY": bypass,
        "no_proxy": bypass,
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
    }


def spawn(argv: Sequence[str], environment: Mapping[str, str], log_file: Path) -> ProcessRef:
    """Start a process that outlives this one, in a session of its own, with its output in a log file.

    Args:
        argv: Absolute path of the program, and its arguments; no secret.
        environment: Its whole environment.
        log_file: Appended to; readable by its owner only.

    Raises:
        LocalCloudError: The program cannot be run.
    """
    _prepare_log(log_file)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(argv[0], list(argv), dict(environment), file_actions=actions, setsid=True)
    except OSError as error:
        detail = f"{argv[0]} cannot be run: {error.strerror}."
        raise LocalCloudError(detail, hint="`visgate doctor` says what is missing.") from error
    try:
        return ProcessRef(pid=pid, started=psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:  # it has ended already; the log says why
        return ProcessRef(pid=pid, started=0.0)


def _prepare_log(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > _KEPT_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    os.close(os.open(log_file, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))
    log_file.chmod(PRIVATE_FILE)


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def members(home: Path) -> list[psutil.Process]:
    """Return every live process that has the mark of a home's cloud, whoever started it."""
    mark, found = str(home.resolve()), []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(CLOUD_ENV) == mark
            if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # ended meanwhile, or another user's
    return found


def end_all(processes: Iterable[psutil.Process], *, grace_s: float = TERMINATE_S) -> list[psutil.Process]:
    """End processes, first politely, then not.

    Args:
        processes: What to end.
        grace_s: How long they may take to end by themselves.

    Returns:
        Those that are still alive.
    """
    remaining = list(processes)
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
        for process in remaining:
            try:
                process.send_signal(number)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        deadline = monotonic() + patience_s
        while remaining and monotonic() < deadline:
            remaining = [process for process in remaining if _lives(process)]
            if remaining:
                sleep(_POLL_S)
    return remaining


def _lives(process: psutil.Process) -> bool:
    _reap(process.pid)
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port(preferred: int | None = None) -> int:
    """Return a free loopback port, the preferred one if nobody listens on it."""
    for candidate in (preferred, 0):
        if candidate is None:
            continue
        with socket(AF_INET, SOCK_STREAM) as listener:
            listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port: int = listener.getsockname()[1]
            return port
    detail = "No loopback port is free."
    raise LocalCloudError(detail)
