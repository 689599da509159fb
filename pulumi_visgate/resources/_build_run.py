"""Runs a builder: its output line by line, a deadline, and an end that takes its children along; no Pulumi."""

import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer
from time import monotonic

from pulumi_visgate.resources._report import Report
from pulumi_visgate.resources.errors import BuildFailed
from visgate_contract.redaction import Redactor

TAIL_LINES = 25
_EVERY_S = 2.0
_GRACE_S = 10.0
_LINE_LENGTH = 160
# `STEP 3/9: RUN …` is buildah's, `#8 [build 3/9] RUN …` is BuildKit's.
_STEP = re.compile(r"^(?:\[\d+/\d+\] )?(?:STEP (?P<a>\d+/\d+): |#\d+ \[(?:[^\]]* )?(?P<b>\d+/\d+)\] )(?P<does>.+)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")

_FIXES: Sequence[tuple[str, str]] = (
    ("no space left on device", "Free disk space: the worker's image needs some 20 GB while it is built."),
    (
        "certificate_verify_failed|x509: certificate",
        "The network has a certificate authority of its own: give its bundle with `secrets`, as docs/images.md shows.",
    ),
    (
        "do not match the hashes",
        "The package index has other files than the lock file says. Check the index; never drop the hashes.",
    ),
    (
        "no matching distribution|could not find a version",
        "The package index lacks a package of the lock file, or there is none for this platform.",
    ),
    (
        "short-name|unqualified-search",
        "Write the base image with its registry, such as docker.io/library/python:3.12-slim.",
    ),
    ("toomanyrequests|rate limit", "The registry of the base image limits anonymous pulls: log in to it first."),
    (
        "unauthorized|authentication required|denied: |no basic auth",
        "Give `username` and `password` of the registry, or log in to it with `docker login`.",
    ),
    (
        "cannot connect to the docker daemon|docker.sock",
        "Start Docker, name a remote builder with `buildx_builder`, or set builder='buildah'.",
    ),
    (
        "oci runtime|while running runtime",
        "Look at the step's own output; if it never began, set BUILDAH_ISOLATION=chroot, which needs no runtime.",
    ),
    (
        "newuidmap|user namespace|operation not permitted|permission denied",
        "Buildah needs user namespaces, or root with BUILDAH_ISOLATION=chroot and STORAGE_DRIVER=vfs.",
    ),
    ("no such host|temporary failure in name resolution|network is unreachable", "Check the network of the builder."),
)


def run(
    command: Sequence[str],
    *,
    doing: str,
    report: Report,
    redactor: Redactor,
    log: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a builder to its end.

    Args:
        command: Program and arguments.
        doing: What it does, such as `building acme/worker`.
        report: Told the step, and every other second the latest line.
        redactor: Takes secrets out of what is told and kept.
        log: File that the whole output is added to.
        timeout_s: Deadline in seconds.
        env: Its environment; this process's own when left out.

    Raises:
        BuildFailed: It failed or took too long; with the end of its output, and what to do where that is known.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    progress = _Progress(doing, report)
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    process = _start(command, env)
    late: list[bool] = []

    def give_up() -> None:
        late.append(True)
        stop(process)

    timer = Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        with open(log, "a", encoding="utf-8", opener=_private) as file:
            for raw in process.stdout or ():
                line = redactor.line(_ESCAPES.sub("", raw.rstrip()))
                if line.strip():
                    file.write(line + "\n")
                    tail.append(line[:_LINE_LENGTH])
                    progress.line(line)
        code = process.wait()
    finally:
        timer.cancel()
        stop(process)
        if process.stdout:
            process.stdout.close()
    if late:
        detail = f"{_capital(doing)} took longer than {timeout_s:.0f} s, and was stopped. It said last:\n{_text(tail)}"
        raise BuildFailed(detail, hint="Raise `timeout_s`, or see what it waits for.")
    if code != 0:
        detail = f"{_capital(doing)} failed with code {code}. It said last:\n{_text(tail)}\nAll of it is in {log}."
        raise BuildFailed(detail, hint=fix_for(tail))


def stop(process: "subprocess.Popen[str]") -> None:
    """End a builder and what it started: asked first, then killed, its children even when it has gone by itself."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, ask)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def fix_for(tail: Sequence[str]) -> str:
    """Return what to do about an output's end; empty when nobody knows."""
    text = "\n".join(tail).lower()
    return next((fix for pattern, fix in _FIXES if re.search(pattern, text)), "")


def _start(command: Sequence[str], env: Mapping[str, str] | None) -> "subprocess.Popen[str]":
    # Linux ends the builder when this process ends, however that ends; elsewhere a killed run leaves it to finish.
    with_parent = shutil.which("setpriv")
    prefix = [with_parent, "--pdeathsig", "TERM", "--"] if with_parent else []
    return subprocess.Popen(  # noqa: S603, the command is ours
        [*prefix, *command],
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


class _Progress:
    def __init__(self, doing: str, report: Report) -> None:
        self._doing = doing
        self._report = report
        self._step = ""
        self._told = 0.0

    def line(self, line: str) -> None:
        if step := _STEP.match(line):
            self._step = f" {step['a'] or step['b']}"
            self._tell(step["does"])
        elif monotonic() - self._told >= _EVERY_S:
            self._tell(line)

    def _tell(self, text: str) -> None:
        self._told = monotonic()
        self._report.status(f"{self._doing}{self._step}: {text[:_LINE_LENGTH]}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(tail: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in tail) or "  (nothing)"
