"""A provider host does not outlive its engine."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pulumi_visgate.resources._lifeline import watch

HOST = """
import sys, threading
from pulumi_visgate.resources._lifeline import end_with_engine
end_with_engine()
end_with_engine()
print(threading.active_count(), flush=True)
threading.Event().wait(float(sys.argv[2]))
"""


@pytest.fixture
def engine() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def address(engine: socket.socket) -> str:
    return f"127.0.0.1:{engine.getsockname()[1]}"


def test_a_host_ends_with_its_engine(engine: socket.socket) -> None:
    command = [sys.executable, "-c", HOST, address(engine), "120"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        assert host.stdin is not None
        assert host.stdout.readline() == b"2\n"
        engine.close()
        host.stdin.close()
        assert host.wait(60) == 1


def test_a_host_without_a_pipe_is_left_alone() -> None:
    command = [sys.executable, "-c", HOST, "127.0.0.1:9", "0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    assert (done.stdout, done.returncode) == (b"1\n", 0)


def test_an_engine_that_closes_the_pipe_is_waited_for(engine: socket.socket) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x")
    os.close(writing)
    where = address(engine)
    seen: list[str] = []

    def pause(_seconds: float) -> None:
        seen.append("answers")
        if len(seen) == 3:
            engine.close()

    watch(reading, where, lambda code: seen.append(f"exit {code}"), pause)
    os.close(reading)
    assert seen == ["answers", "answers", "answers", "exit 1"]
