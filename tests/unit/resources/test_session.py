from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import pytest
from pydantic import SecretStr

from pulumi_visgate.resources._report import Silent
from pulumi_visgate.resources._session import LIST_FRESH_S, Listing, Once, Session, session_for
from pulumi_visgate.resources._settings import Settings


@dataclass
class Thing:
    id: str
    name: str


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_many_resources_share_one_list_for_a_while() -> None:
    clock, asked = Clock(), []

    def fetch() -> list[Thing]:
        asked.append(1)
        return [Thing("a", "one"), Thing("b", "one")]

    listing = Listing(fetch, now=clock)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(listing.get, "ab" * 8)) == [Thing("a", "one"), Thing("b", "one")] * 8
    assert len(asked) == 1
    clock.now += LIST_FRESH_S + 1
    assert [item.id for item in listing.named("one")] == ["a", "b"]
    assert len(asked) == 2
    listing.named("one", fresh=True)
    assert len(asked) == 3


def test_what_this_process_deleted_or_changed_is_seen_before_the_api_lists_it() -> None:
    listing = Listing(lambda: [Thing("a", "one"), Thing("b", "two")])
    listing.all()
    listing.changed(Thing("a", "changed"))
    listing.deleted("b")
    assert listing.all() == [Thing("a", "changed")]
    assert [item.id for item in listing.all(fresh=True)] == ["a"]


def test_a_value_is_made_once_even_from_another_value_in_other_threads() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    inner = Once(lambda: make("inner"))
    outer = Once(lambda: inner() + make("outer"))
    start = Barrier(2)

    def use(value: Once[str]) -> str:
        start.wait()
        return value()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(use, [inner, outer])) == ["inner", "innerouter"]
    assert sorted(made) == ["inner", "outer"]


def test_a_failure_is_tried_again() -> None:
    answers = iter([ValueError("not yet"), None])

    def make() -> str:
        if error := next(answers):
            raise error
        return "made"

    value = Once(make)
    with pytest.raises(ValueError, match="not yet"):
        value()
    assert value() == "made"


def test_one_session_for_the_same_account() -> None:
    one, two = (Settings(runpod_api_key=SecretStr(key)) for key in ("rpa_one", "rpa_two"))
    assert session_for(one) is session_for(Settings(runpod_api_key=SecretStr("rpa_one")))
    assert session_for(one) is not session_for(two)


def test_those_who_wait_for_quota_together_say_it_once(session: Session) -> None:
    said: list[str] = []

    class Heard(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    session.report = Heard()
    for seconds in (0.4, 50.0, 49.9, 49.8):
        session._tell_quota_wait(seconds)
    assert said == ["Runpod's request quota for this account is used up: going on in 50 s."]
