from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.local.emulator.jobs import Demand
from pulumi_visgate.local.emulator.scaling import COUNT_SCALER_IDLE_S, Limits, wish

NOW = 1_000_000.0


def by_delay(minimum: int = 0, maximum: int = 3, delay_s: float = 4.0) -> Limits:
    return Limits(minimum, maximum, 10.0, delay_s, None)


def by_count(minimum: int = 0, maximum: int = 3, per_worker: int = 2) -> Limits:
    return Limits(minimum, maximum, 10.0, None, per_worker)


LIMITS = st.builds(
    lambda low, extra, delay, count, use_delay: Limits(
        low, low + extra, 5.0, delay if use_delay else None, None if use_delay else count
    ),
    st.integers(0, 5), st.integers(0, 5), st.floats(0.5, 60), st.integers(1, 10), st.booleans(),
)  # fmt: skip
DEMANDS = st.builds(
    lambda running, waits: Demand(running, tuple(sorted(NOW - wait for wait in waits))),
    st.integers(0, 20), st.lists(st.floats(0, 100), max_size=20),
)  # fmt: skip


@given(LIMITS, DEMANDS)
def test_a_wish_stays_within_the_limits(limits: Limits, demand: Demand) -> None:
    assert limits.minimum <= wish(limits, demand, NOW).workers <= limits.maximum


@given(LIMITS, DEMANDS)
def test_one_more_waiting_job_never_asks_for_fewer_workers(limits: Limits, demand: Demand) -> None:
    more = Demand(demand.running, (NOW - 1000, *demand.queued))
    assert wish(limits, more, NOW).workers >= wish(limits, demand, NOW).workers


@given(LIMITS, DEMANDS)
def test_a_wish_to_look_again_lies_ahead(limits: Limits, demand: Demand) -> None:
    again_at = wish(limits, demand, NOW).again_at
    assert again_at is None or again_at > NOW


def test_a_queue_without_workers_gets_one_at_once() -> None:
    assert wish(by_delay(), Demand(0, (NOW,)), NOW).workers == 1


def test_waiting_time_adds_a_worker_for_each_late_job() -> None:
    demand = Demand(1, (NOW - 5, NOW - 4.5, NOW - 1))
    wanted = wish(by_delay(maximum=10), demand, NOW)
    assert wanted.workers == 3
    assert wanted.again_at == NOW + 3


def test_no_demand_keeps_the_minimum() -> None:
    assert wish(by_delay(minimum=2), Demand(0, ()), NOW).workers == 2


def test_request_count_gives_every_so_many_jobs_a_worker() -> None:
    assert wish(by_count(per_worker=2), Demand(2, (NOW, NOW, NOW)), NOW).workers == 3
    assert wish(by_count(per_worker=2), Demand(0, (NOW,)), NOW).workers == 1


def test_limits_read_an_endpoint_and_scale_its_idle_time() -> None:
    doc = {
        "workers": {"min": 1, "max": 4, "idleTimeout": 30},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 2.0},
    }
    assert Limits.of(doc, idle_scale=0.1) == Limits(1, 4, 3.0, 2.0, None)


def test_an_endpoint_without_idle_time_uses_a_fixed_one() -> None:
    doc = {"workers": {"min": 5, "max": 0}, "scaling": {"type": "REQUEST_COUNT", "requestCount": 3}}
    assert Limits.of(doc) == Limits(0, 0, COUNT_SCALER_IDLE_S, None, 3)
