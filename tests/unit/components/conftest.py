"""Pulumi's mocks, which remember what a program makes."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

KEY = "rpa_COMPONENTTESTCOMPONENT"
SIGNING_KEY = "a-signing-key-of-many-characters"
MODEL: dict[str, Any] = {"model_id": "acme/tiny", "source": "/models/tiny"}
PLATFORM: dict[str, Any] = {"regions": ["EU-RO-1", "US-KS-2"], "gpu_pools": ["ADA_24"], "models": [MODEL]}


class Recorder(mocks.Mocks):
    """Answers every resource with its own inputs, and remembers them by name."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, dict[str, Any]]] = {}
        self.requests: dict[tuple[str, str], Any] = {}
        self.answers: dict[str, Any] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.made[args.name] = (args.typ, args.inputs)
        told = {"value": SIGNING_KEY, "prefix": "models/", "url": f"http://127.0.0.1/{args.name}"}
        return f"id-of-{args.name}", {**told, **args.inputs, **self.answers}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


class Monitor(mocks.MockMonitor):
    """Remembers what a program asks of the engine, by kind and name of the resource."""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802, named by the protocol
        recorder: Any = self.mocks
        recorder.requests[request.type.rsplit(":", 1)[1], request.name] = request
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]  # pulumi's own


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, pulumi_loop: None) -> Recorder:
    for name, value in {
        "RUNPOD_API_KEY": KEY,
        "RUNPOD_API_URL": "http://127.0.0.1:1",
        "VISGATE_HOST_URL": "http://127.0.0.1:2",
        "VISGATE_HOST_TOKEN": "host-token",
        "VISGATE_S3_ENDPOINT": "http://127.0.0.1:3",
    }.items():
        monkeypatch.setenv(name, value)
    recorder = Recorder()
    mocks.set_mocks(recorder, project="p", stack="s", monitor=Monitor(recorder))
    return recorder


def run(program: Callable[[], Any]) -> Any:
    """Run a program to its end, as the engine does."""
    return pulumi.runtime.test(lambda: pulumi.Output.from_input(program()))()  # type: ignore[no-untyped-call]  # pulumi's own
