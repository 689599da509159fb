import json
from collections.abc import Callable

import httpx
import pytest

from pulumi_visgate.resources.errors import ConfigError, HostError
from pulumi_visgate.resources.local_cdn import LocalCdnCrud
from pulumi_visgate.resources.local_service import LocalServiceCrud
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

SERVICE = {"module": "acme.gateway", "env": {"TOKEN": "canary"}, "owner": "p/s/gateway"}


class Host:
    """The service host's admin API."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, object]] = {}
        self.requests: list[tuple[str, str, object]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[1]
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.method, request.url.path, body))
        if request.method == "PUT":
            record = {"url": "http://127.0.0.1:9", "running": True, "spec_digest": "d1", "module": SERVICE["module"]}
            self.services[name] = record
        if request.method == "DELETE":
            self.services.pop(name, None)
            return httpx.Response(204)
        found = self.services.get(name)
        return httpx.Response(200, json=found) if found else httpx.Response(404, json={"detail": "none"})


def session_with(handler: Callable[[httpx.Request], httpx.Response]) -> MemorySession:
    session = MemorySession(MemoryRunpod())
    client = httpx.Client(base_url="http://host", transport=httpx.MockTransport(handler))
    session._host = lambda: client  # type: ignore[assignment]  # stands for the connection
    return session


def test_a_service_is_started_read_and_ended() -> None:
    host = Host()
    crud = LocalServiceCrud(session_with(host))
    inputs, problems = crud.check({}, SERVICE)
    assert problems == []
    id_, outs = crud.create(inputs)
    assert host.requests == [("PUT", f"/services/{id_}", {"module": "acme.gateway", "env": {"TOKEN": "canary"}})]
    found = crud.read(id_, outs)
    assert found is not None
    assert (found.outs, found.inputs) == (outs, inputs)
    assert crud.diff(outs, inputs).changed == ()
    crud.delete(id_, outs)
    assert crud.read(id_, outs) is None


@pytest.mark.parametrize("lost", [{"running": False}, {"spec_digest": "d2"}, None])
def test_a_service_that_is_dead_changed_or_forgotten_is_started_again(lost: dict[str, object] | None) -> None:
    host = Host()
    crud = LocalServiceCrud(session_with(host))
    inputs, _ = crud.check({}, SERVICE)
    id_, outs = crud.create(inputs)
    if lost is None:
        host.services.clear()
    else:
        host.services[id_].update(lost)
    assert crud.diff(outs, inputs).changed != ()
    crud.update(id_, outs, inputs)
    assert crud.diff(outs, inputs).changed == ()


def test_a_refusal_and_silence_are_told_without_secrets() -> None:
    refusing = session_with(lambda _: httpx.Response(502, json={"detail": "It ended.", "hint": "See its log."}))
    with pytest.raises(HostError, match=r"It ended\. See its log\."):
        LocalServiceCrud(refusing).create({**SERVICE, "name": "gateway"})

    def dead(request: httpx.Request) -> httpx.Response:
        message = "refused"
        raise httpx.ConnectError(message, request=request)

    silent = LocalServiceCrud(session_with(dead))
    with pytest.raises(HostError, match="visgate local up"):
        silent.create({**SERVICE, "name": "gateway"})
    inputs, _ = silent.check({}, SERVICE)
    assert silent.diff(inputs, inputs).changed == ()  # a preview does not need the host

    with pytest.raises(ConfigError, match="visgate local up"):
        LocalServiceCrud(MemorySession(MemoryRunpod())).create({**SERVICE, "name": "gateway"})


def test_a_bucket_is_published_and_withdrawn() -> None:
    host = Host()
    crud = LocalCdnCrud(session_with(host))
    id_, outs = crud.create({"bucket": "pictures"})
    assert (id_, outs["url"]) == ("pictures", "http://127.0.0.1:9")
    found = crud.read(id_, outs)
    assert found is not None
    assert found.inputs == {"bucket": "pictures"}
    crud.delete(id_, outs)
    assert crud.read(id_, outs) is None
