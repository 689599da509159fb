"""Messages of the resources in the engine's own output, beside its diff."""

import contextlib
import sys
from threading import Lock

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from visgate_contract.redaction import Redactor

_TIMEOUT_S = 2.0


class EngineLog:
    """A `Report` that the engine prints (`Engine.Log` of Pulumi's `engine.proto`).

    Args:
        engine: Where the engine listens, `host:port`, or a stub that knows.
        redactor: Takes secrets out of every message.
        urn: Resource that the messages belong to; the whole stack when left out.
    """

    def __init__(self, engine: str | engine_pb2_grpc.EngineStub, redactor: Redactor, urn: str = "") -> None:
        if isinstance(engine, str):
            engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine))
        self._engine = engine
        self._redactor = redactor
        self._urn = urn
        self._warned: set[str] = set()
        self._lock = Lock()

    def warn(self, text: str) -> None:
        """Print a warning, once."""
        with self._lock:
            if text in self._warned:
                return
            self._warned.add(text)
        self._log(engine_pb2.WARNING, text)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._log(engine_pb2.INFO, text)

    def status(self, text: str) -> None:
        """Print a line that an interactive display replaces by the next."""
        self._log(engine_pb2.INFO, text, ephemeral=True)

    def _log(self, severity: "engine_pb2.LogSeverity.ValueType", text: str, *, ephemeral: bool = False) -> None:
        message = self._redactor.text(text)
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=self._urn, ephemeral=ephemeral)
        with contextlib.suppress(grpc.RpcError):  # an engine that does not listen is no reason to stop
            self._engine.Log(request, timeout=_TIMEOUT_S)


def engine_log(redactor: Redactor) -> EngineLog | None:
    """Return the log of the engine that started this provider host, which passes its address as first argument.

    Args:
        redactor: Takes secrets out of every message.
    """
    address = sys.argv[1] if len(sys.argv) > 1 else ""
    host, _, port = address.rpartition(":")
    return EngineLog(address, redactor) if host and port.isdigit() else None
