from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway.services.directory import Candidate
from pulumi_visgate.gateway.services.warm_match import Wish, best, is_warm
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers
from pulumi_visgate.runpod.models.job import EndpointHealth
from visgate_contract.names import EndpointName
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

USER = "ab" * 32
WISH = Wish(user_hash=USER, model_id="a/b", task=Task.TEXT2IMG, generation="gen1")


def candidate(identifier: str = "ep", *, policy: PoolPolicy = PoolPolicy.ON_DEMAND, **changes: Any) -> Candidate:
    name = EndpointName.build(user_hash=USER, model_id="a/b", task=Task.TEXT2IMG, policy=policy, spec={})
    found = Candidate(
        id=identifier,
        label=str(name),
        name=name,
        model_id="a/b",
        signs=True,
        generation=None,
        workers=EndpointWorkers(min=0, max=3),
        pools=("ADA_24",),
        data_center_ids=("EU-RO-1",),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return replace(found, **changes)


@pytest.mark.parametrize(
    ("changes", "wish", "meets"),
    [
        ({}, WISH, True),
        ({"generation": "gen1"}, WISH, True),
        ({"generation": "gen0"}, WISH, False),
        ({"model_id": "a/other-with-the-same-slug"}, WISH, False),
        ({"signs": False}, WISH, False),
        ({"signs": None}, WISH, True),
        ({"signs": None}, replace(WISH, must_sign=True), False),
        ({}, replace(WISH, task=Task.IMAGE2IMG), False),
        ({}, replace(WISH, user_hash="cd" * 32), False),
        ({}, replace(WISH, data_center_ids=("EU-RO-1", "EU-CZ-1")), True),
        ({}, replace(WISH, data_center_ids=("US-TX-3",)), False),
        ({"data_center_ids": ()}, replace(WISH, data_center_ids=("EU-RO-1",)), False),
        ({"data_center_ids": ("EU-RO-1", "US-TX-3")}, replace(WISH, data_center_ids=("EU-RO-1",)), False),
        ({}, replace(WISH, pools=("ADA_24",)), True),
        ({}, replace(WISH, pools=("HOPPER_141",)), False),
    ],
)
def test_what_meets_a_wish(changes: dict[str, Any], wish: Wish, meets: bool) -> None:
    assert wish.is_met_by(candidate(**changes)) is meets


def test_warm_pools_come_first_then_open_ones_then_old_ones() -> None:
    later = datetime(2026, 2, 1, tzinfo=UTC)
    pool = candidate("pool", policy=PoolPolicy.ALWAYS_ON, created_at=later)
    closed = candidate("closed", workers=EndpointWorkers(min=0, max=0))
    young = candidate("young", created_at=later)
    old = candidate("old")
    order = []
    left = [young, closed, pool, old]
    while (found := best(left, WISH)) is not None:
        order.append(found.id)
        left.remove(found)
    assert order == ["pool", "old", "young", "closed"]


@given(st.permutations([candidate(identifier) for identifier in "abcd"]))
def test_the_choice_does_not_depend_on_the_order_of_the_list(candidates: list[Candidate]) -> None:
    found = best(candidates, WISH)
    assert found is not None
    assert found.id == "a"


def test_nothing_fits_nothing_is_found() -> None:
    assert best([candidate(generation="old")], WISH) is None


@pytest.mark.parametrize(
    ("workers", "warm"),
    [({"idle": 1}, True), ({"ready": 1}, True), ({"running": 1}, True), ({"initializing": 3, "throttled": 1}, False)],
)
def test_a_started_worker_is_what_warm_means(workers: dict[str, int], warm: bool) -> None:
    assert is_warm(EndpointHealth.model_validate({"jobs": {}, "workers": workers})) is warm
