"""A provider host ends with the engine that started it, however that ends.

The host itself waits for ever, so after `kill -9` of the engine it would stay, and go on with what it was doing: beside
the next `pulumi up`, and for a state that nobody writes any more. The engine holds the other end of standard input.
"""

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Callable
from functools import cache
from threading import Thread
from time import sleep

_STDIN = 0
_KNOCK_S = 2.0
_PAUSE_S = 0.2


@cache
def end_with_engine() -> None:
    """Watch for the end of the engine from now on, once in a process; does nothing where there is none."""
    address = sys.argv[1] if len(sys.argv) > 1 else ""
    with contextlib.suppress(OSError):
        if address and stat.S_ISFIFO(os.fstat(_STDIN).st_mode):
            Thread(target=watch, args=(_STDIN, address), name="lifeline", daemon=True).start()


def watch(
    pipe: int,
    address: str,
    end: Callable[[int], object] = os._exit,
    pause: Callable[[float], object] = sleep,
) -> None:
    """Wait until the pipe breaks and nobody listens at the engine's address, then end the process.

    Args:
        pipe: File descriptor that the engine holds the other end of.
        address: Where the engine listens, `host:port`.
        end: Ends the process with a code.
        pause: Waits so many seconds between looks at an engine that still listens.
    """
    with contextlib.suppress(OSError):
        while os.read(pipe, 1024):
            pass
    # The system closes what a killed process had open one after the other, so its port may answer a moment longer.
    while _answers(address):
        pause(_PAUSE_S)
    end(1)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
    except (OSError, ValueError):
        return False
    return True
