"""Messages reach an engine over real gRPC, without secrets, and an engine that is gone stops nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from pulumi_visgate.resources._engine_log import EngineLog, engine_log
from visgate_contract.redaction import Redactor

SECRET = "canary-of-an-engine-log"


class Engine(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.said: list[tuple[int, str, bool]] = []

    def Log(self, request: Any, _context: Any) -> Empty:  # noqa: N802, the name of the call
        self.said.append((request.severity, request.message, request.ephemeral))
        return Empty()


@pytest.fixture
def engine() -> Iterator[tuple[Engine, str]]:
    heard = Engine()
    server = grpc.server(ThreadPoolExecutor(1))
    engine_pb2_grpc.add_EngineServicer_to_server(heard, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield heard, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_engine_prints_each_warning_once_and_no_secret(engine: tuple[Engine, str]) -> None:
    heard, address = engine
    report = EngineLog(address, Redactor([SECRET]))
    report.warn(f"low stock for {SECRET}")
    report.warn(f"low stock for {SECRET}")
    report.note("uploaded")
    report.status("10 %")
    assert heard.said == [
        (engine_pb2.WARNING, "low stock for [masked]", False),
        (engine_pb2.INFO, "uploaded", False),
        (engine_pb2.INFO, "10 %", True),
    ]


def test_an_engine_that_is_gone_stops_nothing() -> None:
    EngineLog("127.0.0.1:1", Redactor()).warn("nobody hears this")


@pytest.mark.parametrize("arguments", [["host"], ["host", ""], ["host", "--verbose"], ["host", "127.0.0.1:"]])
def test_a_host_without_an_engine_has_no_log(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", arguments)
    assert engine_log(Redactor()) is None
