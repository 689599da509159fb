"""One resource for each name, whatever an interrupted run has left and however late the API lists it."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Barrier

import pytest

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._report import Silent
from pulumi_visgate.resources._session import LIST_LAG_S, LIST_SETTLE_S, Listing
from pulumi_visgate.resources.errors import NameTaken
from pulumi_visgate.runpod.errors import NotFound, RunpodUnreachable, ServerFault


@dataclass
class Thing:
    id: str
    name: str
    made_at: float
    size: int = 10


@dataclass
class Account(Silent):
    """An API whose list lags; its clock moves only while somebody waits."""

    lag_s: float = 0.0
    now: float = 100.0
    things: dict[str, Thing] = field(default_factory=dict)
    ghosts: list[Thing] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    lists: int = 0
    broken_lists: int = 0

    def __post_init__(self) -> None:
        self._ids = map(str, itertools.count(1))

    def fetch(self) -> list[Thing]:
        self.lists += 1
        if self.broken_lists:
            self.broken_lists -= 1
            raise ServerFault(500, "Internal Server Error", "broken")
        return [thing for thing in (*self.things.values(), *self.ghosts) if thing.made_at <= self.now - self.lag_s]

    def create(self, name: str = "sd", size: int = 10) -> Thing:
        made = Thing(next(self._ids), name, self.now, size)
        self.things[made.id] = made
        return made

    def get(self, id_: str) -> Thing:
        if id_ not in self.things:
            raise NotFound(404, "Not Found", "gone")
        return self.things[id_]

    def remove(self, id_: str) -> None:
        self.things.pop(self.get(id_).id)

    def warn(self, text: str) -> None:
        self.said.append(text)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def process(self, *used: str) -> OneOfAName[Thing]:
        """A new provider process, some seconds later."""
        self.now += 1.0
        listing: Listing[Thing] = Listing(self.fetch, now=lambda: self.now, sleep=self.sleep)
        return OneOfAName(
            kind="Thing",
            listing=listing,
            remove=self.remove,
            report=self,
            get=self.get,
            used=lambda thing: thing.id in used,
        )


@pytest.mark.parametrize("lag_s", [0.0, 0.5, 3.0, 20.0])
def test_what_an_interrupted_run_made_is_found_however_late_it_is_listed(lag_s: float) -> None:
    account = Account(lag_s)
    account.create()
    made, there = account.process().find_or_create("sd", account.create, derived=True)
    assert there
    assert list(account.things) == [made.id] == ["1"]


def test_many_creates_cost_two_lists() -> None:
    account = Account()
    process = account.process()
    for number in range(64):
        name = f"sd-{number}"
        assert process.find_or_create(name, partial(account.create, name), derived=True)[1] is False
    assert account.lists == 2
    assert len(account.things) == 64


def test_creates_at_once_wait_for_one_another_and_are_not_doubles() -> None:
    account = Account(lag_s=0.6)
    account.create("sd-3")
    process = account.process()
    start = Barrier(4)

    def create(name: str) -> str:
        start.wait()
        return process.find_or_create(name, lambda: account.create(name), derived=True)[0].id

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(create, [f"sd-{number}" for number in range(4)]))
    assert sorted(ids) == sorted(account.things)
    assert ids[3] == "1"


def test_a_list_that_never_catches_up_is_told_and_destroy_removes_the_double() -> None:
    account = Account(lag_s=LIST_LAG_S * 3)
    account.create()
    process = account.process()
    made, there = process.find_or_create("sd", account.create, derived=True)
    assert (made.id, there) == ("2", False)
    assert "may have left a double" in account.said[0]
    before = account.now
    process.find_or_create("other", lambda: account.create("other"), derived=True)
    assert account.now == before, "the process has waited once"

    account.lag_s = 0
    account.process().sweep("sd", "2")
    assert [thing.id for thing in account.things.values() if thing.name == "sd"] == ["2"]


def test_a_broken_list_does_not_keep_something_from_being_deleted() -> None:
    account = Account(broken_lists=1)
    account.create()
    account.process().sweep("sd", "1")
    assert "without a look for doubles" in account.said[0]


def test_a_failing_list_after_the_create_leaves_no_orphan() -> None:
    account = Account()
    process = account.process()
    process.listing.all()
    account.broken_lists = 2
    made, there = process.find_or_create("sd", account.create, derived=True)
    assert (list(account.things), there) == ([made.id], False)


def test_two_that_interrupted_runs_made_become_one() -> None:
    account = Account()
    account.create()
    account.create()
    made, there = account.process().find_or_create("sd", account.create, derived=True)
    assert there
    assert list(account.things) == [made.id]
    assert "had made it twice" in account.said[0]


@pytest.mark.parametrize("lag_s", [1.5, 2.5, 4.0])
def test_what_two_interrupted_runs_made_becomes_one_though_only_the_older_is_listed_yet(lag_s: float) -> None:
    account = Account(lag_s)
    for _ in range(2):
        account.create()
        account.sleep(1)
    made, there = account.process().find_or_create("sd", account.create, derived=True)
    assert there
    assert list(account.things) == [made.id]


def test_many_that_are_taken_over_cost_one_wait() -> None:
    account = Account()
    names = [f"sd-{number}" for number in range(64)]
    for name in names:
        account.create(name)
    process = account.process()
    before = account.now
    assert all(process.find_or_create(name, account.create, derived=True)[1] for name in names)
    assert account.now - before == LIST_SETTLE_S
    assert account.lists < 8


def test_a_list_that_stays_broken_does_not_hold_up_for_ever() -> None:
    account = Account()
    account.create()
    process = account.process()
    process.listing.all()
    account.broken_lists = 10_000
    assert process.find_or_create("sd", account.create, derived=True)[0].id == "1"


def test_of_two_the_used_one_stays_then_the_largest() -> None:
    account = Account()
    for size in (10, 10, 30):
        account.create(size=size)
    account.process("2").find_or_create("sd", account.create, derived=True)
    assert list(account.things) == ["2"]
    account.create(size=50)
    account.process().find_or_create("sd", account.create, derived=True)
    assert list(account.things) == ["4"]
    account.create()
    with pytest.raises(NameTaken, match="2 of Thing"):
        account.process("4", "5").find_or_create("sd", account.create, derived=True)


def test_somebody_elses_is_never_removed_even_when_it_was_hidden() -> None:
    account = Account(lag_s=2)
    account.create("theirs")
    with pytest.raises(NameTaken, match=r"Thing .* is called 'theirs' already"):
        account.process().find_or_create("theirs", lambda: account.create("theirs"), derived=False)
    assert list(account.things) == ["1"]
    account.things["1"].made_at = account.now
    made, there = account.process().find_or_create(
        "theirs", lambda: account.create("theirs"), derived=False, adopt=True
    )
    assert (made.id, there, list(account.things)) == ("1", True, ["1"])
    account.create("theirs")
    account.sleep(5)
    with pytest.raises(NameTaken, match="2 of Thing"):
        account.process().find_or_create("theirs", lambda: account.create("theirs"), derived=False, adopt=True)
    assert len(account.things) == 2


@pytest.mark.parametrize("lag_s", [0.0, 1.5, 3.0])
def test_a_lost_answer_beside_what_an_interrupted_run_made_leaves_one(lag_s: float) -> None:
    account = Account(lag_s)
    account.create()

    lost = RunpodUnreachable("cut", sent=True)

    def cut() -> Thing:
        account.create()
        raise lost

    made, there = account.process().find_or_create("sd", cut, derived=True)
    assert there
    assert list(account.things) == [made.id]


def test_what_has_the_program_s_name_and_no_answer_was_made_by_this_run() -> None:
    account = Account()
    lost = RunpodUnreachable("cut", sent=True)

    def cut() -> Thing:
        account.create("mine")
        raise lost

    made, there = account.process().find_or_create("mine", cut, derived=False, adopt=True)
    assert (made.id, there) == ("1", False)


def test_what_was_not_made_is_told_and_made_by_the_next_run() -> None:
    account = Account()

    def fail() -> Thing:
        raise ServerFault(500, "Internal Server Error", "not done")

    with pytest.raises(ServerFault, match="not done"):
        account.process().find_or_create("sd", fail, derived=True)
    account.process().find_or_create("sd", account.create, derived=True)
    assert len(account.things) == 1


def test_what_is_listed_after_it_is_gone_is_not_taken() -> None:
    account = Account()
    account.ghosts.append(Thing("gone", "sd", 0.0))
    made, there = account.process().find_or_create("sd", account.create, derived=True)
    assert (made.id, there) == ("1", False)
