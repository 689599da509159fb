"""Small stores and meters: logs, usage, quota, identity, faults, store, images, placement."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.catalog import GPUS, POOLS, place_cpu, place_gpu
from pulumi_visgate.local.emulator.clock import Clock, parse_rfc3339, rfc3339
from pulumi_visgate.local.emulator.errors import Problem, StartError
from pulumi_visgate.local.emulator.faults import Fault, FaultKind, Faults
from pulumi_visgate.local.emulator.identity import Identity, Scope
from pulumi_visgate.local.emulator.images import Images
from pulumi_visgate.local.emulator.lock import FolderLock
from pulumi_visgate.local.emulator.logs import CONTAINER, SYSTEM, Cursor, Logs
from pulumi_visgate.local.emulator.quota import Quota
from pulumi_visgate.local.emulator.settings import repository_of
from pulumi_visgate.local.emulator.store import Kind, Store
from pulumi_visgate.local.emulator.usage import Component, Usage

KEY = "rpa_ABCDEFGHIJKLMNOP1234"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "db.sqlite3")
    yield made
    made.close()


def test_the_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    path.touch(mode=0o644)
    store = Store(path)
    store.remember("a", 1)
    assert {oct(os.stat(file).st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}
    store.close()


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def twice() -> None:
        with store.transaction():
            store.remember("a", 1)
            store.execute("INSERT INTO meta VALUES ('a', '2')")

    with pytest.raises(sqlite3.IntegrityError):
        twice()
    assert store.recall("a", None) is None


def test_resources_belong_to_an_account(store: Store) -> None:
    record = store.add(Kind.VOLUME, "one", 1.0, {"name": "v"})
    assert store.get(Kind.VOLUME, record.id, "two") is None
    assert store.get(Kind.TEMPLATE, record.id, "one") is None
    assert [found.id for found in store.list(Kind.VOLUME, "one")] == [record.id]
    assert store.list(Kind.VOLUME, "one", before=0.5) == []


def test_a_folder_has_one_emulator(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(StartError, match="Another emulator"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_times_go_both_ways_and_need_an_offset() -> None:
    assert parse_rfc3339(rfc3339(1_700_000_000.25)) == 1_700_000_000.25
    with pytest.raises(ValueError, match="offset"):
        parse_rfc3339("2026-01-01T00:00:00")


def test_logs_are_bounded_and_resumable(store: Store) -> None:
    logs = Logs(store, Clock(), Bells(), keep=20)
    logs.write("w", CONTAINER, [f"line {n}" for n in range(600)])
    logs.write("w", SYSTEM, ["end"])
    kept = logs.read("w", Cursor())
    assert len(kept) == 21
    assert [line.line for line in logs.read("w", Cursor(tail=2))] == ["line 599", "end"]
    assert [line.line for line in logs.read("w", Cursor.resume(kept[-2].event_id))] == ["end"]
    assert logs.read("w", Cursor.resume(rfc3339(kept[0].ts)))[0] == kept[0]
    assert [line.source for line in logs.read("w", Cursor(), SYSTEM)] == [SYSTEM]
    assert logs.read("another", Cursor()) == []


def test_a_malformed_cursor_is_refused() -> None:
    for text in ("yesterday", "2026-01-01T00:00:00Z/x"):
        with pytest.raises(ValueError, match=r".+"):
            Cursor.resume(text)


def test_usage_costs_by_the_second_and_stops(store: Store) -> None:
    clock = Clock()
    usage = Usage(store, clock)
    start = clock.now()
    usage.start("acc", "ep", Component.GPU, 0.5, worker="w")
    clock.advance(10)
    usage.stop_worker("w")
    clock.advance(10)
    (span,) = usage.spans("acc", start - 1, clock.now())
    assert span.amount(start - 1, clock.now()) == pytest.approx(5.0, rel=0.01)
    assert span.amount(start + 2, start + 4) == pytest.approx(1.0, rel=0.01)
    assert list(usage.spans("other", start - 1, clock.now())) == []


def test_a_bill_does_not_grow_while_the_emulator_is_off(store: Store) -> None:
    clock = Clock()
    usage = Usage(store, clock)
    usage.start("acc", "ep", Component.GPU, 1.0, worker="w")
    usage.start("acc", "vol", Component.STANDARD, 1.0)
    clock.advance(5)
    usage.beat()
    clock.advance(1000)
    usage.recover()
    clock.advance(7)
    by_resource: dict[str, float] = {}
    for span in usage.spans("acc", 0, clock.now()):
        by_resource[span.resource] = by_resource.get(span.resource, 0.0) + span.amount(0, clock.now())
    assert by_resource == pytest.approx({"ep": 5.0, "vol": 12.0}, rel=0.05)


def test_quota_headers_and_refusal() -> None:
    quota = Quota(Clock(), per_minute=2, per_hour=100)
    headers = quota.spend("a")
    assert headers["RateLimit-Policy"] == '"minute";q=2;w=60, "hour";q=100;w=3600'
    assert headers["RateLimit"] == '"minute";r=1;t=60, "hour";r=99;t=3600'
    quota.spend("a")
    with pytest.raises(Problem) as refused:
        quota.spend("a")
    assert refused.value.status == 429
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    quota.spend("b")
    quota.clock.advance(61)
    assert quota.spend("a")["RateLimit"].startswith('"minute";r=1;')


def test_a_key_is_an_account_and_is_not_kept(store: Store, tmp_path: Path) -> None:
    identity = Identity(store)
    caller = identity.caller(f"Bearer {KEY}")
    assert caller == identity.caller(f"bearer {KEY}")
    assert identity.accounts() == [caller.account]
    store.close()
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer short", "Basic abc", f"Bearer {KEY}!", KEY])
def test_what_is_no_key_is_refused(store: Store, header: str | None) -> None:
    with pytest.raises(Problem) as refused:
        Identity(store).caller(header)
    assert refused.value.status == 401


def test_worker_tokens_are_good_for_their_own_endpoint_until_revoked(store: Store) -> None:
    identity = Identity(store)
    caller = identity.caller(f"Bearer {identity.issue('acc', 'ep', 'w', Scope.OWN_ENDPOINT)}")
    caller.allow("updateEndpoint", "ep", plane="control")
    for operation, endpoint in (("updateEndpoint", "other"), ("listEndpoints", None), ("deleteTemplate", "ep")):
        with pytest.raises(Problem) as refused:
            caller.allow(operation, endpoint, plane="control")
        assert refused.value.status == 403
    token = identity.issue("acc", "ep", "w", Scope.JOBS)
    identity.caller(token, bare=True).allow("jobTake", "ep", plane="jobs")
    with pytest.raises(Problem):
        identity.caller(token, bare=True).allow("getEndpoint", "ep", plane="control")
    identity.revoke("w")
    with pytest.raises(Problem) as gone:
        identity.caller(f"Bearer {token}")
    assert gone.value.status == 401


def test_faults_match_count_and_end() -> None:
    faults = Faults()
    faults.add(Fault(kind=FaultKind.STATUS, operation="create*", times=2, skip=1))
    hits = [faults.on_request("createEndpoint", "POST", "/v2/serverless") for _ in range(4)]
    assert [hit is not None for hit in hits] == [False, True, True, False]
    assert faults.on_request("getEndpoint", "GET", "/v2/serverless/x") is None
    faults.add(Fault(kind=FaultKind.NO_CAPACITY, endpoint="ep", times=None))
    assert faults.on_request("createEndpoint", "POST", "/") is None
    assert faults.on_worker(FaultKind.NO_CAPACITY, "other") is None
    assert all(faults.on_worker(FaultKind.NO_CAPACITY, "ep") for _ in range(3))
    faults.clear()
    assert faults.rules() == []


def test_images_match_by_reference_then_repository(store: Store) -> None:
    images = Images(store, {"team/app": "run --fast", "team/app:2": "run 'two words'"})
    assert images.command("team/app:1", "") == ["run", "--fast"]
    assert images.command("team/app:2", "-v") == ["run", "two words", "-v"]
    assert images.command("team/other", "") is None
    own = images.command("ghcr.example:5000/x/visgate-worker@sha256:00", "")
    assert own is not None
    assert own[1:] == ["-m", "visgate_worker"]
    images.map("late", "x")
    assert Images(store, {}).command("late", "") == ["x"]


@pytest.mark.parametrize(
    ("image", "repository"),
    [("a", "a"), ("a:1", "a"), ("h:5000/a", "h:5000/a"), ("h:5000/a/b:1", "h:5000/a/b"), ("a@sha256:0", "a")],
)
def test_the_repository_of_an_image(image: str, repository: str) -> None:
    assert repository_of(image) == repository


def test_every_pool_has_a_place_somewhere() -> None:
    for pool, members in POOLS.items():
        place = place_gpu([pool], [], 1, [])
        assert place is not None
        assert place.gpu in members
        assert place.per_hour > 0


def test_placement_respects_exclusions_and_data_centers() -> None:
    stocked = place_gpu(["AMPERE_24"], ["NVIDIA RTX A5000"], 2, ["EU-SE-1"])
    assert stocked is not None
    assert stocked.data_center == "EU-SE-1"
    assert stocked.gpu != "NVIDIA RTX A5000"
    assert stocked.gpu is not None
    assert stocked.per_hour == 2 * GPUS[stocked.gpu].price[2]
    assert place_gpu(["BLACKWELL_180"], [], 1, ["AP-JP-1"]) is None
    assert place_cpu([("cpu5c", 4)], ["AP-JP-1"]) is not None
    assert place_cpu([("cpu3c", 4)], ["AP-JP-1"]) is None
