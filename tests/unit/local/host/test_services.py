import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.local.home import Home
from pulumi_visgate.local.host.services import (
    MAX_RESTARTS,
    ServiceFailedError,
    Services,
    ServiceSpec,
    load_records,
)
from pulumi_visgate.local.processes import ProcessRef, base_environment

KEY = b"key of the host"


def spec(modules: Path, **env: str) -> ServiceSpec:
    return ServiceSpec.model_validate({"module": "painter", "env": {"PYTHONPATH": str(modules), **env}})


def make(home: Home, http: httpx.AsyncClient, *, ready_s: float = 30.0) -> Services:
    environment = base_environment(os.environ, home=home.root)
    return Services(home, environment, digest_key=KEY, http=http, ready_s=ready_s)


@pytest.fixture
async def services(home: Home, http: httpx.AsyncClient) -> AsyncIterator[Services]:
    made = make(home, http)
    yield made
    await made.stop_all()


async def test_a_service_is_ready_when_it_is_answered(
    services: Services, http: httpx.AsyncClient, modules: Path
) -> None:
    record = await services.ensure("gateway", spec(modules, COLOUR="red"))
    assert (await http.get(record.url)).text == f"{record.url} red"
    assert record.process.alive


async def test_the_same_specification_keeps_the_process(services: Services, modules: Path) -> None:
    first = await services.ensure("gateway", spec(modules))
    assert await services.ensure("gateway", spec(modules)) == first


async def test_another_specification_replaces_it_on_the_same_port(
    services: Services, http: httpx.AsyncClient, modules: Path
) -> None:
    first = await services.ensure("gateway", spec(modules, COLOUR="red"))
    second = await services.ensure("gateway", spec(modules, COLOUR="blue"))
    assert (second.port, second.process == first.process) == (first.port, False)
    assert (await http.get(second.url)).text.endswith("blue")
    assert not first.process.alive


async def test_two_at_once_start_one(services: Services, modules: Path) -> None:
    first, second = await asyncio.gather(*(services.ensure("gateway", spec(modules)) for _ in range(2)))
    assert first == second


async def test_a_service_that_dies_says_why_without_its_secret(services: Services, home: Home, modules: Path) -> None:
    with pytest.raises(ServiceFailedError, match="ended before it was ready") as caught:
        await services.ensure("gateway", spec(modules, BROKEN="1", SECRET="hunter2-hunter2"))
    assert "cannot start, the key is [masked]" in caught.value.detail
    assert "hunter2" not in str(caught.value)
    assert str(home.log_file("gateway")) in caught.value.hint


async def test_a_service_that_is_never_ready_is_ended(
    home: Home, http: httpx.AsyncClient, modules: Path, tmp_path: Path
) -> None:
    impatient = make(home, http, ready_s=1.0)
    with pytest.raises(ServiceFailedError, match="was not ready after 1 s"):
        await impatient.ensure("gateway", spec(modules, GATE=str(tmp_path / "never")))
    record = impatient.get("gateway")
    assert record is not None
    assert not record.process.alive


async def test_removing_ends_and_forgets_it(services: Services, home: Home, modules: Path) -> None:
    record = await services.ensure("gateway", spec(modules))
    assert await services.remove("gateway")
    assert not record.process.alive
    assert services.get("gateway") is None
    assert load_records(home) == []
    assert not await services.remove("gateway")


async def test_the_environment_is_on_no_disk(services: Services, home: Home, modules: Path) -> None:
    await services.ensure("gateway", spec(modules, SECRET="hunter2-hunter2"))
    record = home.services / "gateway.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    files = [file for file in home.root.rglob("*") if file.is_file()]
    assert record in files
    assert not any(b"hunter2" in file.read_bytes() for file in files)


async def test_a_new_host_adopts_what_still_runs(
    services: Services, home: Home, http: httpx.AsyncClient, modules: Path
) -> None:
    record = await services.ensure("gateway", spec(modules))
    successor = make(home, http)
    assert successor.all() == [record]
    assert await successor.ensure("gateway", spec(modules)) == record


def gone(process: ProcessRef) -> None:
    deadline = monotonic() + 30
    while process.alive:
        assert monotonic() < deadline
        sleep(0.01)


async def until(http: httpx.AsyncClient, url: str) -> None:
    deadline = monotonic() + 30
    while True:
        try:
            if (await http.get(url)).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_service_that_was_killed_is_started_again(
    services: Services, http: httpx.AsyncClient, modules: Path
) -> None:
    record = await services.ensure("gateway", spec(modules))
    watcher = asyncio.create_task(services.watch())
    os.kill(record.process.pid, signal.SIGKILL)
    await asyncio.to_thread(gone, record.process)
    await until(http, record.url)
    watcher.cancel()
    again = services.get("gateway")
    assert again is not None
    assert (again.restarts, again.url) == (1, record.url)


async def test_a_service_that_dies_again_and_again_is_given_up(
    home: Home, http: httpx.AsyncClient, modules: Path
) -> None:
    services = make(home, http)
    record = await services.ensure("gateway", spec(modules))
    (modules / "painter.py").write_text("raise SystemExit('broken now')")
    os.kill(record.process.pid, signal.SIGKILL)
    for _ in range(MAX_RESTARTS + 2):
        known = services.get("gateway")
        assert known is not None
        await asyncio.to_thread(gone, known.process)
        await services._revive("gateway")
    known = services.get("gateway")
    assert known is not None
    assert known.restarts == MAX_RESTARTS
    assert not known.process.alive


async def test_a_taken_port_is_not_fought_for(services: Services, http: httpx.AsyncClient, modules: Path) -> None:
    record = await services.ensure("gateway", spec(modules))
    await asyncio.to_thread(record.process.stop)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", record.port))
        other.listen()
        moved = await services.ensure("gateway", spec(modules, COLOUR="green"))
    assert moved.port != record.port
    assert (await http.get(moved.url)).status_code == 200


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(max_size=8), max_size=4))
def test_the_digest_is_of_the_content_only(env: dict[str, str]) -> None:
    one = ServiceSpec.model_validate({"module": "m", "env": env})
    other = ServiceSpec.model_validate({"module": "m", "env": dict(reversed(env.items()))})
    changed = ServiceSpec.model_validate({"module": "m", "env": env | {"NEW_NAME_X": "1"}})
    assert one.digest(KEY) == other.digest(KEY) != changed.digest(KEY)
    assert one.digest(KEY) != one.digest(b"another host")


def test_no_secret_in_a_repr() -> None:
    made = ServiceSpec.model_validate({"module": "m", "env": {"A": "hunter2-hunter2"}})
    assert "hunter2" not in repr(made)
