from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.runpod._policy import Quota, RetryPolicy, left_traces, may_repeat, shared_quota
from pulumi_visgate.runpod.errors import (
    BadRequest,
    DeadlineExceeded,
    NotFound,
    RateLimited,
    RunpodError,
    RunpodUnreachable,
    ServerFault,
    Unauthorized,
)


def api(kind: Any, status: int, retry_after_s: float | None = None) -> RunpodError:
    error: RunpodError = kind(status, "Title", "detail", retry_after_s=retry_after_s)
    return error


REPEATED_ALWAYS = [
    api(RateLimited, 429),
    api(RateLimited, 429, 3),
    api(ServerFault, 503, 3),
    RunpodUnreachable("refused", sent=False),
    DeadlineExceeded("connect", sent=False),
]
REPEATED_WHEN_HARMLESS = [
    api(ServerFault, 500),
    api(ServerFault, 503),
    api(ServerFault, 504, 3),
    RunpodUnreachable("reset"),
    DeadlineExceeded("read"),
]
NEVER_REPEATED = [api(BadRequest, 400), api(Unauthorized, 401), api(NotFound, 404, 3)]


@pytest.mark.parametrize("failure", REPEATED_ALWAYS)
@pytest.mark.parametrize("repeatable", [True, False])
def test_what_certainly_did_not_happen_is_repeated(failure: RunpodError, repeatable: bool) -> None:
    assert may_repeat(failure, repeatable=repeatable)


@pytest.mark.parametrize("failure", REPEATED_WHEN_HARMLESS)
def test_what_may_have_happened_is_repeated_only_when_harmless(failure: RunpodError) -> None:
    assert may_repeat(failure, repeatable=True)
    assert not may_repeat(failure, repeatable=False)
    assert left_traces(failure)


@pytest.mark.parametrize("failure", NEVER_REPEATED)
def test_a_refusal_is_final(failure: RunpodError) -> None:
    assert not may_repeat(failure, repeatable=True)
    assert not left_traces(failure)


def test_a_refused_connection_leaves_no_traces() -> None:
    assert not left_traces(RunpodUnreachable("refused", sent=False))


@given(st.integers(1, 4), st.floats(0, 1))
def test_backoff_is_spread_below_a_doubling_and_capped_bound(attempt: int, jitter: float) -> None:
    policy = RetryPolicy(attempts=5, base_s=1.0, cap_s=3.0)
    wait = policy.wait_s(api(ServerFault, 500), attempt=attempt, repeatable=True, jitter=jitter)
    assert wait == pytest.approx(jitter * min(3.0, 2.0 ** (attempt - 1)))


def test_the_server_is_never_asked_before_its_retry_after() -> None:
    policy = RetryPolicy()
    waits = [
        policy.wait_s(api(RateLimited, 429, 12), attempt=attempt, repeatable=False, jitter=1.0)
        for attempt in range(1, 5)
    ]
    assert all(wait is not None and 12 <= wait <= 12.5 for wait in waits)


def test_attempts_are_limited() -> None:
    policy = RetryPolicy(attempts=2)
    failure = api(ServerFault, 500)
    assert policy.wait_s(failure, attempt=1, repeatable=True, jitter=0) == 0
    assert policy.wait_s(failure, attempt=2, repeatable=True, jitter=0) is None


def test_only_repeatable_calls_keep_time_for_another_attempt() -> None:
    policy = RetryPolicy(attempt_s=10)
    assert policy.attempt_timeout_s(25, repeatable=True) == 10
    assert policy.attempt_timeout_s(25, repeatable=False) == 25
    assert policy.attempt_timeout_s(4, repeatable=True) == 4


def limits(remaining: int, reset: int) -> dict[str, str]:
    return {
        "ratelimit": f'"minute";r={remaining};t={reset}, "hour";r=2800;t=1812',
        "ratelimit-policy": '"minute";q=60;w=60, "hour";q=3000;w=3600',
    }


def finished(quota: Quota, headers: dict[str, str], now: float) -> None:
    assert quota.claim(now) == 0
    quota.release()
    quota.observe(headers, now)


def test_nothing_is_held_back_before_anything_is_known() -> None:
    assert Quota().claim(5.0) == 0


def test_a_used_up_window_holds_requests_until_it_resets() -> None:
    quota = Quota()
    finished(quota, limits(0, 12), 100.0)
    assert quota.claim(100.0) == 12
    assert quota.claim(111.5) == 0.5
    assert quota.claim(112.0) == 0


def test_each_request_is_claimed_before_it_is_sent() -> None:
    quota = Quota()
    finished(quota, limits(3, 30), 100.0)
    assert [quota.claim(100.0) for _ in range(4)] == [0, 0, 0, 30]


def test_an_older_answer_does_not_give_quota_back() -> None:
    quota = Quota()
    finished(quota, limits(3, 30), 100.0)
    assert quota.claim(100.0) == 0
    quota.observe(limits(3, 30), 100.5)
    assert [quota.claim(100.5) for _ in range(3)] == [0, 0, 29.5]


def test_an_answer_of_another_process_takes_quota_away() -> None:
    quota = Quota()
    finished(quota, limits(30, 30), 100.0)
    finished(quota, limits(0, 20), 110.0)
    assert quota.claim(110.0) == 20


def test_an_answer_from_a_window_before_is_ignored() -> None:
    quota = Quota()
    finished(quota, limits(10, 60), 100.0)
    quota.observe({"ratelimit": '"minute";r=0;t=1'}, 100.0)
    assert quota.claim(100.0) == 0


def test_a_new_window_starts_from_the_policy_less_what_is_under_way() -> None:
    quota = Quota()
    headers = {"ratelimit": '"minute";r=5;t=10', "ratelimit-policy": '"minute";q=2;w=60'}
    finished(quota, headers, 100.0)
    assert quota.claim(109.0) == 0  # still under way when the window resets
    assert quota.claim(110.0) == 0
    assert quota.claim(110.0) == 60


def test_a_new_window_counts_the_requests_that_its_first_answer_cannot_know() -> None:
    quota = Quota()
    assert [quota.claim(100.0) for _ in range(3)] == [0, 0, 0]
    quota.release()
    quota.observe({"ratelimit": '"minute";r=3;t=30'}, 100.0)
    assert [quota.claim(100.0), quota.claim(100.0)] == [0, 30]


def test_a_refusal_blocks_every_request() -> None:
    quota = Quota()
    quota.block(107.0)
    quota.block(103.0)
    assert quota.claim(100.0) == 7


@pytest.mark.parametrize(
    "header",
    ["", "minute", '"minute";r=', '"minute";r="no";t=3', '"minute";r=-1;t=3', '"minute";t=3', "\u20ac", "5;r=?1;t=?1"],
)
def test_a_header_that_says_nothing_changes_nothing(header: str) -> None:
    quota = Quota()
    quota.observe({"ratelimit": header, "ratelimit-policy": header}, 100.0)
    assert quota.claim(100.0) == 0


def test_tokens_name_windows_as_strings_do() -> None:
    quota = Quota()
    quota.observe({"ratelimit": "minute;r=0;t=9"}, 100.0)
    assert quota.claim(100.0) == 9


@given(st.lists(st.sampled_from(["claim", "answer", "tick"]), max_size=60))
def test_no_more_is_sent_in_a_window_than_the_server_allows(actions: list[str]) -> None:
    quota, now, left, resets, under_way = Quota(), 0.0, 5, 60.0, 0
    headers = {"ratelimit-policy": '"minute";q=5;w=60'}
    quota.observe({**headers, "ratelimit": f'"minute";r={left};t=60'}, now)
    for action in actions:
        if now >= resets:
            left, resets = 5, now + 60.0
        if action == "claim" and quota.claim(now) == 0:
            under_way += 1
            left -= 1
            assert left >= 0
        elif action == "answer" and under_way:
            under_way -= 1
            quota.release()
            quota.observe({**headers, "ratelimit": f'"minute";r={left};t={int(resets - now)}'}, now)
        elif action == "tick":
            now += 15.0


def test_clients_of_one_account_share_a_view_and_others_do_not() -> None:
    assert shared_quota("a" * 64, "https://x") is shared_quota("a" * 64, "https://x")
    assert shared_quota("a" * 64, "https://x") is not shared_quota("b" * 64, "https://x")
    assert shared_quota("a" * 64, "https://x") is not shared_quota("a" * 64, "https://y")
