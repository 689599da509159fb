"""Verdicts over sequences of looks, and changes that are made, found half made, and taken back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.resources._rollout import (
    LAG_S,
    Look,
    Rollout,
    Verdict,
    Watch,
    makes_release,
    pauses,
    remaining,
    rolled,
    undo,
)
from pulumi_visgate.runpod.models.endpoint import (
    Endpoint,
    EndpointReleaseList,
    EndpointWorkerList,
    UpdateEndpoint,
    WorkerStatus,
)

STATES = [str(status) for status in WorkerStatus]


def seen(*states: str, former: int = 0, version: int = 2) -> Look:
    return Look(
        version=version,
        total=len(states) + former,
        latest=len(states),
        states=tuple(sorted(states)),
        ill=tuple(f"w{n}" for n, state in enumerate(states) if state == "UNHEALTHY"),
        throttled=tuple(f"w{n}" for n, state in enumerate(states) if state == "THROTTLED"),
    )


looks = st.builds(
    lambda states, former, version: seen(*states, former=former, version=version),
    st.lists(st.sampled_from(STATES), max_size=4),
    st.integers(0, 2),
    st.integers(1, 3),
)
histories = st.lists(st.tuples(looks | st.none(), st.floats(0.5, 60.0)), max_size=60)
rollouts = st.builds(Rollout, timeout_s=st.integers(1, 900), grace_s=st.integers(0, 120))


@given(histories, rollouts, st.integers(0, 3), st.none() | st.integers(1, 2))
def test_a_verdict_follows_from_what_was_seen(
    history: list[tuple[Look | None, float]], rollout: Rollout, minimum: int, former: int | None
) -> None:
    watch, now = Watch(rollout, minimum=minimum, started=0.0, former=former), 0.0
    ill_since: float | None = None
    for look, pause in history:
        lags = look is not None and former is not None and (look.version or 0) <= former and now < LAG_S
        if look is not None and not lags:
            if look.ready:
                ill_since = None
            elif look.ill and ill_since is None:
                ill_since = now
        verdict = watch.see(look, now)
        late = now >= rollout.timeout_s
        if verdict is Verdict.DONE:
            assert look is not None
            assert rolled(look, minimum)
            assert look.latest == look.total
            assert not look.ill
            return
        if verdict is Verdict.FAILED:
            # Early only with proof: unhealthy workers, and none that was ready since.
            assert late or ill_since is not None
            if not late and look is not None and look.total:
                assert ill_since is not None
                assert now - ill_since >= rollout.grace_s
            assert watch.reason
            return
        assert not late
        assert ill_since is None or now - ill_since < rollout.grace_s or look is None or lags
        now += pause


def judged(*steps: tuple[float, Look | None], minimum: int = 1, former: int | None = 1, **rollout: Any) -> list[str]:
    watch = Watch(Rollout(**rollout), minimum=minimum, started=0.0, former=former)
    return [str(watch.see(look, at)) for at, look in steps]


def test_an_endpoint_without_workers_has_nothing_to_roll() -> None:
    assert judged((0, seen()), minimum=0) == ["done"]
    assert judged((0, seen()), minimum=1) == ["wait"]


def test_a_ready_worker_has_to_stay_ready() -> None:
    assert judged((0, seen("IDLE")), (1, seen("UNHEALTHY")), (2, seen("RUNNING")), (3, seen("IDLE"))) == [
        "wait", "wait", "wait", "done",
    ]  # fmt: skip


def test_workers_that_start_or_wait_beside_enough_others_do_not_matter() -> None:
    more = seen("IDLE", "INITIALIZING", "THROTTLED")
    assert judged((0, more), (1, more)) == ["wait", "done"]
    assert judged((0, more), (1, more), minimum=2) == ["wait", "wait"]


def test_former_workers_are_waited_for_to_the_end() -> None:
    busy = seen("IDLE", former=1)
    assert judged((0, busy), (5, busy), (600, busy)) == ["wait", "wait", "failed"]


def test_a_crash_loop_fails_after_the_grace_also_when_it_starts_again_in_between() -> None:
    steps = [(0.0, seen("UNHEALTHY")), (10.0, seen("INITIALIZING")), (29.0, seen("UNHEALTHY"))]
    assert judged(*steps, (30.0, seen("INITIALIZING"))) == ["wait", "wait", "wait", "failed"]
    assert judged(*steps, (29.5, seen("IDLE")), (40.0, seen("UNHEALTHY"))) == ["wait"] * 5


def test_unhealthy_workers_that_are_gone_have_failed() -> None:
    assert judged((0, seen("UNHEALTHY")), (1, seen()), minimum=0) == ["wait", "failed"]


def test_a_list_that_is_behind_is_not_believed_for_a_while() -> None:
    behind = seen("IDLE", version=1)
    assert judged((0, behind), (1, behind), (LAG_S, behind), (LAG_S + 1, behind)) == ["wait", "wait", "wait", "done"]
    assert judged((0, behind), (1, behind), former=None) == ["wait", "done"]


def test_silence_ends_with_the_time() -> None:
    assert judged((0, None), (59, None), (60, None), timeout_s=60) == ["wait", "wait", "failed"]


def test_pauses_grow_and_stay_bounded() -> None:
    following = pauses()
    found = [following() for _ in range(20)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1.0, 10.0)


def test_answers_become_a_look_by_what_is_less_advanced() -> None:
    workers = [
        {"id": "a", "status": "IDLE", "isStale": False, "gpuCount": 1},
        {"id": "b", "status": "UNHEALTHY", "isStale": False, "gpuCount": 1},
        {"id": "c", "status": "RUNNING", "isStale": True, "gpuCount": 1},
    ]
    counts = {"running": 1, "idle": 1, "initializing": 0, "throttled": 0, "unhealthy": 1, "total": 3}
    rollout = {"inProgress": True, "workersOnLatest": 1, "workersTotal": 2, "percentOnLatest": 50}
    look = Look.of(
        EndpointReleaseList.model_validate({"rollout": rollout, "releases": [], "endpointVersion": 4}),
        EndpointWorkerList.model_validate({"workers": workers, "summary": counts}),
    )
    assert (look.version, look.total, look.latest, look.ready, look.ill) == (4, 3, 1, 1, ("b",))
    assert look.text() == "1 of 3 workers on the new release (1 IDLE, 1 UNHEALTHY; 2 of the former release)"


# --- changes ---

BEFORE: dict[str, Any] = {
    "id": "e1", "name": "sd", "type": "QUEUE", "image": "acme/worker:1", "args": "", "disk": 20, "ports": ["80/http"],
    "env": {"A": "1"}, "registry": None, "workers": {"min": 1, "max": 3, "idleTimeout": 10},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4.0}, "dataCenterIds": ["EU-RO-1"], "networkVolumes": ["v1"],
    "timeout": 300_000, "flashboot": "OFF", "createdAt": datetime(2026, 1, 1, tzinfo=UTC),
    "gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA L4"], "count": 1, "allowedCudaVersions": [],
            "minCudaVersion": None},
}  # fmt: skip
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["sd", "other"]),
    "image": st.sampled_from(["acme/worker:1", "acme/worker:2"]),
    "args": st.sampled_from(["", "--fast"]),
    "disk": st.sampled_from([20, 40]),
    "ports": st.sampled_from([[], ["80/http"]]),
    "env": st.dictionaries(st.sampled_from("AB"), st.sampled_from("12")),
    "registry": st.sampled_from([None, "r1"]),
    "workers": st.fixed_dictionaries({}, optional={"min": st.integers(0, 2), "max": st.integers(2, 4)}),
    "scaling": st.sampled_from(
        [{"type": "REQUEST_COUNT", "request_count": 2}, {"type": "QUEUE_DELAY", "queue_delay": 4.0}]
    ),
    "data_center_ids": st.sampled_from([[], ["EU-RO-1"], ["US-KS-2", "EU-RO-1"]]),
    "network_volumes": st.sampled_from([[], ["v1"]]),
    "timeout": st.sampled_from([300_000, 900_000]),
    "flashboot": st.sampled_from(["OFF", "FLASHBOOT"]),
    "gpu": st.sampled_from([{"pools": ["AMPERE_24"]}, {"count": 2}, {"pools": ["ADA_24"], "min_cuda_version": "12.4"}]),
}
changes = st.fixed_dictionaries({}, optional=CHANGES).map(UpdateEndpoint.model_validate)


def applied(endpoint: Endpoint, change: UpdateEndpoint) -> Endpoint:
    """What Runpod makes of a change."""
    values = endpoint.model_dump(by_alias=False)
    for name, value in change.model_dump(by_alias=False, exclude_unset=True).items():
        if name == "workers":
            values["workers"] |= value
        elif name == "gpu":
            cleared: dict[str, list[str]] = {"excluded_types": []} if "pools" in value else {}
            values["gpu"] |= cleared | {**value, "min_cuda_version": value.get("min_cuda_version") or None}
        elif name != "template_id":
            values[name] = value
    return Endpoint.model_validate(values)


@given(changes)
def test_a_change_and_its_undoing_leave_the_endpoint_as_it_was(change: UpdateEndpoint) -> None:
    before = Endpoint.model_validate(BEFORE)
    assert applied(applied(before, change), undo(change, before)) == before


@given(changes)
def test_what_remains_of_a_change_is_enough_and_nothing_when_it_is_made(change: UpdateEndpoint) -> None:
    before = Endpoint.model_validate(BEFORE)
    left = remaining(change, before)
    after = applied(before, change)
    assert (applied(before, left) if left else before) == after
    assert remaining(change, after) is None


def test_a_template_is_undone_by_what_it_has_brought() -> None:
    back = undo(UpdateEndpoint(template_id="t1"), Endpoint.model_validate(BEFORE)).body()
    assert back == {
        "image": "acme/worker:1", "args": "", "disk": 20, "ports": ["80/http"], "env": {"A": "1"}, "registry": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"image": "x"}, True), ({"env": {}}, True), ({"gpu": {"count": 2}}, True), ({"workers": {"max": 4}}, False)],
)
def test_only_some_changes_make_a_release(change: dict[str, Any], expected: bool) -> None:
    assert makes_release(UpdateEndpoint.model_validate(change)) is expected
    assert not makes_release(None)
