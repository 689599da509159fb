"""A second pair of eyes: kills the workers when the emulator is gone, however it went.

Runs as its own process. Each line on standard input is `add PID CREATED` or `drop PID`; the end of input means that the
emulator has gone, also by `kill -9`.
"""

import contextlib
import os
import signal
import sys

import psutil

_TOLERANCE_S = 0.05


def kill_group(pid: int, created: float) -> bool:
    """Kill the process group that a worker leads.

    Args:
        pid: Process id of the worker, which is its group id too.
        created: Start time of that process; a younger process with the same id is left alone.

    Returns:
        Whether there was something to kill.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(pid).create_time() - created) > _TOLERANCE_S:
            return False
    # A process id is not given out again while a group of that number lives, so a dead leader is no danger.
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Follow standard input, then kill what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    alive: dict[int, float] = {}
    for line in sys.stdin:
        verb, pid, *created = line.split()
        if verb == "add":
            alive[int(pid)] = float(created[0])
        else:
            alive.pop(int(pid), None)
    for pid, started in alive.items():
        kill_group(pid, started)


if __name__ == "__main__":
    main()
