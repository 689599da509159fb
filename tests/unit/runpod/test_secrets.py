"""Known secrets are looked for in everything that the client says when things go wrong."""

import asyncio
import logging
import pickle
import traceback
from typing import Any

import httpx
import pytest

from pulumi_visgate.runpod import AsyncRunpodClient, RunpodClient, RunpodError
from pulumi_visgate.runpod._exchange import Core, Send
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.registry import CreateRegistry
from tests.handled import Handled

KEY = "rpa_CANARYCANARYCANARYCANARY0123456789"
ENV = "hf_CANARYENVCANARYENVCANARYENV"
PASSWORD = "canary-password-of-a-registry"
SECRETS = (KEY, ENV, PASSWORD)

CREATE = CreateEndpoint.model_validate(
    {
        "name": "n",
        "type": "QUEUE",
        "image": "i",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "env": {"HF_TOKEN": ENV},
    }
)
REGISTRY = CreateRegistry.model_validate({"name": "n", "username": "u", "password": PASSWORD})
ECHO = " ".join(SECRETS)


def echo(request: httpx.Request) -> httpx.Response:
    said = f"{request.headers['authorization']} {request.content.decode()}"
    return httpx.Response(422, json={"title": said, "status": 422, "detail": said, "errors": [said]})


def broken(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError(ECHO) from RuntimeError(ECHO)


def garbage(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, content=ECHO)


def told(error: BaseException) -> str:
    """Everything that could be printed or reported about an error, down to the locals of the client's frames."""
    parts = [repr(error), str(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in trace.stack if "pulumi_visgate" in frame.filename]
    parts += [f"{frame.name}: {frame.locals}" for frame in frames]
    while (linked := error.__cause__ or error.__context__) is not None:
        parts += [repr(linked), repr(vars(linked))]
        error = linked
    return "\n".join(parts)


@pytest.mark.parametrize("handler", [echo, broken, garbage])
@pytest.mark.parametrize(("operation", "body"), [("create_endpoint", CREATE), ("create_registry", REGISTRY)])
def test_no_secret_is_in_any_error_or_log(
    caplog: pytest.LogCaptureFixture, handler: Any, operation: str, body: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        RunpodClient(KEY, transport=httpx.MockTransport(handler)) as client,
        pytest.raises(RunpodError) as caught,
    ):
        getattr(client, operation)(body)

    async def ask() -> None:
        async with AsyncRunpodClient(KEY, transport=Handled(handler)) as asynchronous:
            await getattr(asynchronous, operation)(body)

    with pytest.raises(RunpodError) as also_caught:
        asyncio.run(ask())
    for error in (caught.value, also_caught.value):
        said = told(error)
        assert operation.partition("_")[2] in said.lower()
        assert not [secret for secret in SECRETS if secret in said]
    assert caplog.records, "httpx logs each request at INFO, so silence would mean that nothing was looked at"
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_an_error_links_to_nothing_that_holds_the_request() -> None:
    with (
        RunpodClient(KEY, transport=httpx.MockTransport(broken)) as client,
        pytest.raises(RunpodError) as caught,
    ):
        client.create_endpoint(CREATE)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_client_and_its_parts_hide_the_key() -> None:
    with RunpodClient(KEY) as client:
        shown = f"{client!r} {client} {client._core!r} {vars(client)}"
    send = Send("POST", "https://x", {"Authorization": f"Bearer {KEY}"}, CREATE.body(), 1.0)
    assert not [secret for secret in SECRETS if secret in f"{shown} {send!r}"]


def test_errors_survive_a_process_border_without_the_request() -> None:
    with (
        RunpodClient(KEY, transport=httpx.MockTransport(echo)) as client,
        pytest.raises(RunpodError) as caught,
    ):
        client.create_endpoint(CREATE)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), vars(copy)) == (type(caught.value), str(caught.value), vars(caught.value))


def test_the_core_keeps_its_key_wrapped() -> None:
    with RunpodClient(KEY) as client:
        core: Core = client._core
        assert core.api_key.get_secret_value() == KEY
        assert KEY not in str(core.api_key)
