import httpx
import pytest
from pydantic import SecretStr

from pulumi_visgate.local.host.schedules import Schedules, ScheduleSpec
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources.errors import HostError
from pulumi_visgate.resources.local_schedule import LocalScheduleCrud
from tests.unit.resources.conftest import KEY, MemoryRunpod, MemorySession

WINDOW = {"start": "09:00", "end": "18:00", "timezone": "Europe/Berlin"}
SCHEDULE = {"endpoint_id": "abc", "windows": [WINDOW], "owner": "p/s/pool-schedule"}


class Host:
    """The real schedules behind their admin routes; nothing ticks."""

    def __init__(self) -> None:
        self.schedules = Schedules(digest_key=b"host")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/schedules/")
        if request.method == "PUT":
            return httpx.Response(200, json=self.schedules.put(name, ScheduleSpec.model_validate_json(request.content)))
        if request.method == "DELETE":
            self.schedules.remove(name)
            return httpx.Response(204)
        found = self.schedules.get(name)
        return httpx.Response(200, json=found) if found else httpx.Response(404, json={"detail": "none"})


def crud_with(host: Host, *, key: str = KEY) -> LocalScheduleCrud:
    session = MemorySession(MemoryRunpod())
    session.settings = Settings(runpod_api_key=SecretStr(key))
    client = httpx.Client(base_url="http://host", transport=httpx.MockTransport(host))
    session._host = lambda: client  # type: ignore[assignment]  # stands for the connection
    return LocalScheduleCrud(session)


def test_a_schedule_is_put_read_changed_and_forgotten() -> None:
    host = Host()
    crud = crud_with(host)
    inputs, problems = crud.check({}, SCHEDULE)
    assert problems == []
    id_, outs = crud.create(inputs)
    assert KEY not in str(outs) + str(host.schedules.all())
    found = crud.read(id_, outs)
    assert found is not None
    assert (found.outs, found.inputs) == (outs, inputs)
    assert crud.diff(outs, inputs).changed == ()

    news, _ = crud.check(inputs, {**SCHEDULE, "min_workers": 1})
    assert crud.diff(outs, news).changed == ("min_workers",)
    outs = crud.update(id_, outs, news)
    assert crud.diff(outs, news).changed == ()
    crud.delete(id_, outs)
    assert crud.read(id_, outs) is None
    assert host.schedules.all() == []


def test_a_host_that_has_forgotten_it_or_knows_another_key_is_told_again() -> None:
    host = Host()
    crud = crud_with(host)
    inputs, _ = crud.check({}, SCHEDULE)
    id_, outs = crud.create(inputs)
    rotated = crud_with(host, key="rpa_ANOTHERANOTHERANOTHER")
    rotated.create(inputs)
    assert crud.diff(outs, inputs).changed == ("spec_digest",)
    host.schedules.close()
    assert crud.diff(outs, inputs).changed == ("spec_digest",)
    assert crud.diff(crud.update(id_, outs, inputs), inputs).changed == ()


def test_a_preview_does_not_need_the_host() -> None:
    class Dead(Host):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            message = "refused"
            raise httpx.ConnectError(message)

    crud = crud_with(Dead())
    inputs, _ = crud.check({}, SCHEDULE)
    assert crud.diff({**inputs, "spec_digest": "x"}, inputs).changed == ()
    with pytest.raises(HostError, match="visgate local"):
        crud.create(inputs)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"windows": []}, "at least 1"), ({"windows": [{**WINDOW, "timezone": "Mars"}]}, "0.timezone")]
)
def test_wrong_windows_are_named(wrong: dict[str, object], said: str) -> None:
    [problem] = crud_with(Host()).check({}, {**SCHEDULE, **wrong})[1]
    assert problem.property == "windows"
    assert said in problem.reason
