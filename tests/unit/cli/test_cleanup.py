from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_visgate.cli.cleanup import own_endpoints
from pulumi_visgate.runpod.client import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

if TYPE_CHECKING:
    from pulumi_visgate.local.emulator.testing import RunpodEmulator

Visgate = Callable[..., int]


def endpoint_name(key: str, model_id: str) -> str:
    name = EndpointName.build(
        user_hash=user_hash(key), model_id=model_id, task=Task.TEXT2IMG, policy=PoolPolicy.ON_DEMAND, spec={}
    )
    return str(name)


@pytest.fixture
def account(
    runpod_emulator: "RunpodEmulator", monkeypatch: pytest.MonkeyPatch, visgate: Visgate
) -> Iterator[tuple[RunpodClient, dict[str, str]]]:
    """An account with two endpoints of ours, one of ours for somebody else, and one that is nobody's business."""
    key = runpod_emulator.new_key()
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    monkeypatch.setenv("RUNPOD_API_URL", runpod_emulator.api_url)
    names = {
        "one": endpoint_name(key, "m/one"),
        "two": endpoint_name(key, "m/two"),
        "stranger": endpoint_name("rpa_other", "m/one"),
        "other": "production",
    }
    with RunpodClient(key, base_url=runpod_emulator.api_url) as runpod:
        ids = {}
        for short, name in names.items():
            wanted: dict[str, Any] = {
                "name": name,
                "type": "QUEUE",
                "image": "acme/visgate-worker:1",
                "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
                "gpu": {"pools": ["ADA_24"]},
                "workers": {"min": 0, "max": 1},
            }
            ids[short] = runpod.create_endpoint(CreateEndpoint.model_validate(wanted)).id
        yield runpod, ids


def left(runpod: RunpodClient) -> set[str]:
    return {endpoint.id for endpoint in runpod.list_endpoints()}


def test_our_endpoints_go_and_nothing_else(visgate: Visgate, account: Any) -> None:
    runpod, ids = account
    assert visgate("cleanup", "--yes") == 0
    assert left(runpod) == {ids["stranger"], ids["other"]}
    assert visgate("cleanup", "--yes") == 0


def test_what_shall_stay_stays(visgate: Visgate, account: Any) -> None:
    runpod, ids = account
    assert visgate("cleanup", "--yes", "--keep", ids["one"]) == 0
    assert left(runpod) == {ids["one"], ids["stranger"], ids["other"]}


def test_nothing_goes_unseen_or_unconfirmed(
    visgate: Visgate, account: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runpod, ids = account
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert visgate("cleanup") == 1
    shown = capsys.readouterr()
    assert ids["one"] in shown.out
    assert ids["other"] not in shown.out
    assert "--yes" in shown.err
    assert left(runpod) == set(ids.values())


def test_without_a_key_it_says_so(
    visgate: Visgate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert visgate("cleanup", "--yes") == 1
    assert "RUNPOD_API_KEY is not set" in capsys.readouterr().err


def test_another_keys_endpoints_are_not_ours(account: Any) -> None:
    runpod, ids = account
    found = own_endpoints(runpod.list_endpoints(), "rpa_other")
    assert [endpoint.id for endpoint in found] == [ids["stranger"]]
