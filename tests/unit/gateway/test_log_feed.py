"""One worker's log for many listeners, without a network: what is shared, remembered, forgotten and masked."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.masking import Masker
from pulumi_visgate.gateway.services import log_feed, log_tunnel
from pulumi_visgate.gateway.services.follow import Follower
from pulumi_visgate.gateway.services.log_cursor import MAX_WORKERS, Cursor
from pulumi_visgate.gateway.services.log_feed import Feeds, Place
from pulumi_visgate.gateway.services.log_tunnel import Lines, Tunnel
from pulumi_visgate.gateway.services.observe import Observer
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.job import JobStatus
from pulumi_visgate.runpod.models.logs import LogLine
from visgate_contract.signing import JobRef

BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)
JOB = JobRef("ep1", "job1-u1")


class Runpod:
    """Workers of one endpoint: their logs so far and as they go on, and how often each was opened."""

    def __init__(self) -> None:
        self.logs: dict[str, list[LogLine]] = {}
        self.states: dict[str, str] = {}
        self.opened: list[tuple[str, dict[str, Any]]] = []
        self.open = 0
        self.ended: set[str] = set()
        self.news = asyncio.Event()

    def write(self, worker: str, *texts: str, ids: str | None = None, source: str = "container") -> None:
        log = self.logs.setdefault(worker, [])
        self.states.setdefault(worker, "RUNNING")
        for text in texts:
            ts = BEGAN + timedelta(seconds=sum(map(len, self.logs.values())))
            log.append(LogLine(id=ids or f"{ts.isoformat()}/{len(log):06d}", source=source, line=text, ts=ts))
        self.news.set()
        self.news = asyncio.Event()

    async def get_worker_logs(self, _: str, worker: str, **start: Any) -> AsyncIterator[LogLine]:
        self.opened.append((worker, {name: value for name, value in start.items() if value}))
        if worker not in self.logs:
            raise NotFound(404, "Not Found", "no such worker")
        log = self.logs[worker]
        at = max(0, len(log) - (start.get("tail") or len(log)))
        if start.get("since"):
            at = next((n for n, line in enumerate(log) if line.ts >= start["since"]), len(log))
        if start.get("last_event_id"):
            at = next(n for n, line in enumerate(log) if line.id == start["last_event_id"]) + 1
        self.open += 1
        try:
            while True:
                while at < len(log):
                    yield log[at]
                    at += 1
                if worker in self.ended:
                    return
                await self.news.wait()
        finally:
            self.open -= 1

    async def endpoint_health(self, _: str) -> Any:
        counts = {state.lower(): list(self.states.values()).count(state) for state in set(self.states.values())}
        return _health(counts)

    async def list_endpoint_workers(self, _: str) -> Any:
        from pulumi_visgate.runpod.models.endpoint import EndpointWorkerList

        workers = [
            {"id": name, "status": state, "isStale": False, "gpuCount": 1} for name, state in self.states.items()
        ]
        summary = {name: 0 for name in ("running", "idle", "initializing", "throttled", "unhealthy")}
        return EndpointWorkerList.model_validate({"workers": workers, "summary": {**summary, "total": len(workers)}})

    async def job_status(self, _: str, __: str) -> JobStatus:
        return self.job

    job = JobStatus(id="job1-u1", status="IN_QUEUE")


def _health(workers: dict[str, int]) -> Any:
    from pulumi_visgate.runpod.models.job import EndpointHealth

    return EndpointHealth.model_validate({"jobs": {}, "workers": workers})


@pytest.fixture
def runpod() -> Runpod:
    return Runpod()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "SETTLED_S", 0.01)
    monkeypatch.setattr(log_feed, "OPENING_S", 0.05)
    monkeypatch.setattr(log_tunnel, "QUIET_S", 0.05)
    monkeypatch.setattr(log_tunnel, "LOOK_AGAIN_S", 0.01)


Listen = Callable[..., Tunnel]


@pytest.fixture
def listen(runpod: Runpod) -> Listen:
    feeds, follower = Feeds(), Follower()

    def make(cursor: str = "", *, user: str = "u1", since: datetime | None = None) -> Tunnel:
        caller = Caller(user, "whsec_x", runpod)  # type: ignore[arg-type]  # as far as a tunnel needs it
        observer = Observer(clock=iter(range(0, 10**9, 60)).__next__)
        return Tunnel(
            caller, "ep1", feeds=feeds, observer=observer, follower=follower, cursor=Cursor(cursor), since=since
        )

    return make


async def take(lines: AsyncGenerator[Lines, None], count: int) -> tuple[list[str], list[str], int]:
    """Texts and ids of the next lines, and how many were lost."""
    texts: list[str] = []
    ids: list[str] = []
    lost = 0
    async with asyncio.timeout(20):
        while len(texts) < count:
            some = await anext(lines)
            lost += some.lost
            texts += [json.loads(data)["line"] for _, data in some.lines]
            ids += [line_id for line_id, _ in some.lines]
    return texts, ids, lost


async def test_many_listeners_are_one_to_runpod_and_nobody_is_none(listen: Listen, runpod: Runpod) -> None:
    runpod.write("w1", "one", "two")
    tunnels = [listen() for _ in range(40)]
    streams = [tunnel.lines(tunnel.endpoint()) for tunnel in tunnels]
    assert [(await take(stream, 2))[0] for stream in streams] == [["one", "two"]] * 40
    runpod.write("w1", "three")
    assert [(await take(stream, 1))[0] for stream in streams] == [["three"]] * 40
    assert runpod.opened == [("w1", {"tail": log_feed.KEPT_LINES})]
    for tunnel in tunnels:
        await tunnel.__aexit__()
    assert runpod.open == 0


async def test_two_users_share_nothing(listen: Listen, runpod: Runpod) -> None:
    runpod.write("w1", "one")
    async with listen(user="u1") as first, listen(user="u2") as second:
        for tunnel in (first, second):
            assert (await take(tunnel.lines(tunnel.endpoint()), 1))[0] == ["one"]
        assert len(runpod.opened) == 2


async def test_a_stream_of_several_workers_is_resumed_without_loss_or_repeat(listen: Listen, runpod: Runpod) -> None:
    for number in range(6):
        runpod.write(f"w{number % 3}", f"line {number}")
    async with listen() as tunnel:
        lines = tunnel.lines(tunnel.endpoint())
        texts, ids, _ = await take(lines, 6)
        assert texts == [f"line {number}" for number in range(6)]
        runpod.write("w1", "line 6")
        runpod.write("w0", "line 7")
        for cut in range(6):
            async with listen(ids[cut]) as again:
                rest, _, lost = await take(again.lines(again.endpoint()), 7 - cut)
            assert (sorted(rest), lost) == ([f"line {number}" for number in range(cut + 1, 8)], 0)
    assert runpod.open == 0


async def test_lines_with_the_same_id_are_told_apart(listen: Listen, runpod: Runpod) -> None:
    runpod.write("w1", "one", "two", "three", ids=BEGAN.isoformat())
    async with listen() as tunnel:
        _, ids, _ = await take(tunnel.lines(tunnel.endpoint()), 3)
        async with listen(ids[1]) as again:
            assert (await take(again.lines(again.endpoint()), 1))[0] == ["three"]
    assert len(set(ids)) == 3


async def test_what_a_feed_has_forgotten_comes_from_runpod(
    listen: Listen, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_feed, "KEPT_LINES", 10)
    runpod.write("w1", *(f"line {number}" for number in range(40)))
    seen = runpod.logs["w1"][4].id
    async with listen() as tunnel, listen(f"w1@{seen}") as resumed, listen(since=BEGAN) as whole:
        assert (await take(tunnel.lines(tunnel.endpoint()), 10))[0] == [f"line {number}" for number in range(30, 40)]
        streams = resumed.lines(resumed.endpoint()), whole.lines(whole.endpoint())
        for stream, begin in zip(streams, (5, 0), strict=True):
            assert (await take(stream, 40 - begin))[0] == [f"line {number}" for number in range(begin, 40)]
        runpod.write("w1", "live")
        assert [(await take(stream, 1))[0] for stream in streams] == [["live"], ["live"]]
        assert runpod.open == 1


async def test_a_slow_listener_costs_no_memory_and_is_told_what_it_missed(
    listen: Listen, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_feed, "KEPT_LINES", 10)
    runpod.write("w1", "first")
    async with listen() as slow, listen() as quick:
        lines, others = slow.lines(slow.endpoint()), quick.lines(quick.endpoint())
        await take(lines, 1)
        await take(others, 1)
        for number in range(50):
            runpod.write("w1", f"line {number}")
            assert (await take(others, 1))[0] == [f"line {number}"]
        feed = next(iter(slow._readers.values())).feed
        assert feed.end == 51
        assert len(feed._entries) == 10
        texts, _, lost = await take(lines, 10)
    assert (texts, lost) == ([f"line {number}" for number in range(40, 50)], 40)


async def test_a_feed_is_bounded_in_characters_too(
    listen: Listen, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_feed, "KEPT_CHARACTERS", 30_000)
    runpod.write("w1", *("x" * 100_000 for _ in range(30)), "end")
    async with listen() as tunnel:
        texts, _, _ = await take(tunnel.lines(tunnel.endpoint()), 1)
        feed = next(iter(tunnel._readers.values())).feed
    assert texts[-1] == "end"
    assert max(map(len, texts)) == masking.MAX_LINE_CHARACTERS
    assert sum(len(entry.data) for entry in feed._entries) <= 30_000


async def test_a_workers_end_is_no_failure_and_a_new_worker_is_found(listen: Listen, runpod: Runpod) -> None:
    runpod.write("w1", "one")
    runpod.states["gone"] = "RUNNING"
    async with listen() as tunnel:
        lines = tunnel.lines(tunnel.endpoint())
        assert (await take(lines, 1))[0] == ["one"]
        runpod.ended.add("w1")
        runpod.write("w1", "last words")
        assert (await take(lines, 1))[0] == ["last words"]
        runpod.write("w2", "hello")
        assert (await take(lines, 1))[0] == ["hello"]


async def test_a_job_that_waits_shows_the_workers_that_start_and_then_its_own(listen: Listen, runpod: Runpod) -> None:
    runpod.write("busy", "somebody else's")
    runpod.write("w2", "pulling the image", source="system")
    runpod.states["w2"] = "INITIALIZING"
    async with listen(since=BEGAN) as tunnel:
        lines = tunnel.lines(tunnel.job(JOB, runpod.job))
        assert (await take(lines, 1))[0] == ["pulling the image"]
        runpod.job = JobStatus.model_validate({"id": "job1-u1", "status": "IN_PROGRESS", "workerId": "w3"})
        runpod.write("w3", "step 1 of 2")
        assert (await take(lines, 1))[0] == ["step 1 of 2"]
        runpod.write("w2", "not of this job")
        runpod.write("w3", "step 2 of 2")
        runpod.job = JobStatus.model_validate({"id": "job1-u1", "status": "COMPLETED", "workerId": "w3"})
        rest = [json.loads(data)["line"] async for some in lines for _, data in some.lines]
    assert rest == ["step 2 of 2"]
    assert runpod.open == 0


async def test_every_listeners_secrets_are_masked_also_in_lines_that_are_there(listen: Listen, runpod: Runpod) -> None:
    runpod.write("w1", "tokens: first-listeners-own, second-listeners-own, platform-secret")
    platform = Masker(["platform-secret"])
    async with listen() as first, listen() as second:
        masking.begin(platform, ["first-listeners-own"])
        lines = first.lines(first.endpoint())
        assert (await take(lines, 1))[0] == ["tokens: [masked], second-listeners-own, [masked]"]
        masking.begin(platform, ["second-listeners-own"])
        others = second.lines(second.endpoint())
        assert (await take(others, 1))[0] == ["tokens: [masked], [masked], [masked]"]
        runpod.write("w1", "first-listeners-own and second-listeners-", "own")
        assert (await take(lines, 2))[0] == ["[masked] and [masked]", "[masked]"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[32mgreen\x1b[0m and \x1b]8;;http://x\x07link", "green and link"),
        ("10%|#   |\r20%|##  |\r30%|### |", "30%|### |"),
        ("30%|### |\r", "30%|### |"),
        ("bell\x07 null\x00 line\u2028end", "bell\\x07 null\\x00 line\\u2028end"),
    ],
)
async def test_a_line_paints_nothing_and_forges_nothing(
    listen: Listen, runpod: Runpod, written: str, shown: str
) -> None:
    runpod.write("w1", written)
    async with listen() as tunnel:
        assert (await take(tunnel.lines(tunnel.endpoint()), 1))[0] == [shown]


@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9]{1,14}", fullmatch=True),
        st.builds(Place, st.from_regex(r"2026-11-01T12:00:0[0-9]Z(/[0-9]{1,12})?", fullmatch=True), st.integers(1, 99)),
        max_size=MAX_WORKERS + 4,
    )
)
def test_a_cursor_survives_its_text(places: dict[str, Place]) -> None:
    cursor = Cursor()
    for worker, place in places.items():
        cursor.move(worker, place)
    again = Cursor(str(cursor))
    kept = list(places)[-MAX_WORKERS:]
    assert {worker: again.place(worker) for worker in places} == {
        worker: place if worker in kept else None for worker, place in places.items()
    }
    assert (again.rest is not None) == (len(kept) == MAX_WORKERS)


@given(st.text(max_size=3_000))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    assert str(Cursor(str(Cursor(text)))) == str(Cursor(text))
