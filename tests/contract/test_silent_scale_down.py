"""Runpod lowers the maximum of endpoints that nobody uses, without a word; a refresh sees it, `up` puts it back."""

from typing import Any

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.contract.account import Account, account
from tools.reference.fields import BASES, OWNER

__all__ = ["account"]
pytestmark = pytest.mark.contract

DAY_S = 86_400
ALL_DAY = [{"start": "00:00", "end": "24:00", "timezone": "Europe/Berlin", "min_workers": 1}]
PROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "queue": ("Endpoint", {"max_workers": 5}),
    "load balancer": ("Endpoint", {"max_workers": 5, "routing": "LOAD_BALANCER", "request_count": 2}),
    "always on": ("WarmPool", {"max_workers": 5, "policy": "always_on"}),
    "scheduled": ("WarmPool", {"max_workers": 5, "policy": "scheduled_warm", "windows": ALL_DAY}),
}


def until_maximum(account: Account, resource: str, id_: str, most: int) -> None:
    """The emulator's autoscaler works beside the API."""

    def lowered() -> None:
        assert account.held(resource, id_)["workers"]["max"] == most

    Retrying(
        retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.02), stop=stop_after_delay(60), reraise=True
    )(lowered)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("days", "most"), [(3, 2), (7, 0)])
def test_a_refresh_sees_it_and_up_puts_it_back(account: Account, name: str, days: int, most: int) -> None:
    resource, more = PROGRAMS[name]
    program = {**BASES[resource], **more, "owner": OWNER}
    id_, outs = account.create(resource, program)
    account.emulator.advance(days * DAY_S + 60)
    until_maximum(account, resource, id_, most)

    found = account.crud(resource).read(id_, outs)
    assert found is not None
    assert found.outs["max_workers"] == most
    wanted = account.checked(resource, program, found.inputs)
    change = account.crud(resource).diff(found.outs, wanted)
    assert {"max_workers"} <= set(change.changed) <= {"min_workers", "max_workers"}
    assert change.replaces == ()

    outs = account.crud(resource).update(id_, found.outs, wanted)
    held = account.held(resource, id_)["workers"]
    assert (held["max"], held["min"]) == (5, 0 if resource == "Endpoint" else 1)
    account.refreshed(resource, id_, outs, program)
