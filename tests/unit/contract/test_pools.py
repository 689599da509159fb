from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from visgate_contract.pools import Day, PoolPolicy, Window, effective_minimum, next_transition

SCHEDULED = PoolPolicy.SCHEDULED_WARM
MINUTE = timedelta(minutes=1)
# Zones without a change of clocks, with changes of an hour in either half of the year, of half an hour, far from UTC.
ZONES = ["UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati"]
CHANGES = [  # clocks go forward or back within a day of these
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
]


def window(start: str, end: str, timezone: str = "UTC", **more: object) -> Window:
    return Window.model_validate({"start": start, "end": end, "timezone": timezone, **more})


def at(text: str, timezone: str = "UTC", *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone), fold=fold)


def minimum(now: datetime, *windows: Window, min_workers: int = 0) -> int:
    return effective_minimum(SCHEDULED, windows, now, min_workers=min_workers)


@st.composite
def _windows(draw: st.DrawFn) -> Window:
    # Few distinct times near each other and near the changes of clocks, so that windows touch, overlap and nest.
    clock = st.sampled_from(["00:00", "01:00", "01:30", "02:00", "02:15", "02:45", "03:00", "09:00", "18:00", "23:30"])
    start = draw(clock)
    end = draw(clock.filter(lambda text: text != start) | st.just("24:00"))
    days = draw(st.lists(st.sampled_from(list(Day)), min_size=1, unique=True) | st.just(list(Day)))
    return window(start, end, draw(st.sampled_from(ZONES)), days=days, min_workers=draw(st.integers(1, 4)))


moments = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes), st.sampled_from(CHANGES), st.integers(-1500, 1500)
)


@given(st.lists(_windows(), max_size=4), moments, st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_the_next_transition_is_the_first_change_of_a_scan(
    windows: list[Window], now: datetime, min_workers: int
) -> None:
    now += timedelta(seconds=17)  # a scheduler does not look on the minute
    current = minimum(now, *windows, min_workers=min_workers)
    found = next_transition(SCHEDULED, windows, now, min_workers=min_workers)
    moment = now.replace(second=0) + MINUTE
    for _ in range(30 * 60):
        seen = minimum(moment, *windows, min_workers=min_workers)
        if seen != current:
            assert found == (moment, seen)
            return
        moment += MINUTE
    assert found is None or found[0] >= moment


@given(st.lists(_windows(), min_size=1, max_size=4), moments, st.lists(st.integers(0, 9 * 1440), max_size=8))
@settings(max_examples=60, deadline=None)
def test_between_two_transitions_nothing_changes_in_whatever_order_one_looks(
    windows: list[Window], now: datetime, jumps: list[int]
) -> None:
    pieces = [(now, minimum(now, *windows))]
    while (found := next_transition(SCHEDULED, windows, pieces[-1][0])) and found[0] < now + timedelta(days=9):
        assert found[0] > pieces[-1][0]
        assert found[1] != pieces[-1][1]
        pieces.append(found)
    for jump in jumps:  # forwards and backwards, as a clock that is set
        moment = now + timedelta(minutes=jump, seconds=jump % 60)
        expected = next(workers for since, workers in reversed(pieces) if since <= moment)
        assert minimum(moment, *windows) == expected


@given(st.lists(_windows(), max_size=4), moments)
@settings(deadline=None)
def test_of_overlapping_windows_the_most_workers_count(windows: list[Window], now: datetime) -> None:
    assert minimum(now, *windows) == max((minimum(now, one) for one in windows), default=0)
    assert minimum(now, *reversed(windows), min_workers=3) == max(3, minimum(now, *windows))
    assert minimum(now.astimezone(ZoneInfo("Asia/Kolkata")), *windows) == minimum(now, *windows)


@given(_windows(), st.dates(date(2026, 5, 4), date(2026, 8, 30)), st.integers(0, 1439))
@settings(deadline=None)
def test_where_no_clock_changes_a_window_is_what_the_wall_clock_says(one: Window, day: date, minutes: int) -> None:
    zone = ZoneInfo(one.timezone)
    wall = datetime.combine(day, time(minutes // 60, minutes % 60))
    clock, days = wall.strftime("%H:%M"), list(Day)
    if one.start < one.end:
        is_open = one.start <= clock < one.end and days[wall.weekday()] in one.days
    else:
        evening = clock >= one.start and days[wall.weekday()] in one.days
        morning = clock < one.end and days[wall.weekday() - 1] in one.days
        is_open = evening or morning
    assert (minimum(wall.replace(tzinfo=zone), one) > 0) == is_open


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("one", "begins", "ends"),
    [
        # Forwards: 02:00 becomes 03:00 in Berlin on 29 March 2026.
        (window("01:00", "04:00", BERLIN), "2026-03-29T00:00", "2026-03-29T02:00"),
        (window("02:30", "04:00", BERLIN), "2026-03-29T01:00", "2026-03-29T02:00"),
        (window("01:30", "02:30", BERLIN), "2026-03-29T00:30", "2026-03-29T01:00"),
        (window("02:10", "02:50", BERLIN), None, None),
        (window("02:00", "03:00", BERLIN), None, None),
        # Backwards: 03:00 becomes 02:00 in Berlin on 25 October 2026.
        (window("01:00", "04:00", BERLIN), "2026-10-24T23:00", "2026-10-25T03:00"),
        (window("02:30", "04:00", BERLIN), "2026-10-25T00:30", "2026-10-25T03:00"),
        (window("01:00", "02:30", BERLIN), "2026-10-24T23:00", "2026-10-25T01:30"),
        (window("02:10", "02:50", BERLIN), "2026-10-25T00:10", "2026-10-25T01:50"),
        # Over midnight into a change, on the other side of the world, by half an hour.
        (window("22:00", "06:00", NEW_YORK), "2026-03-08T03:00", "2026-03-08T10:00"),
        (window("22:00", "06:00", NEW_YORK), "2026-11-01T02:00", "2026-11-01T11:00"),
        (window("01:00", "03:00", LORD_HOWE), "2026-10-03T14:30", "2026-10-03T16:00"),
        (window("01:00", "03:00", LORD_HOWE), "2026-04-04T14:00", "2026-04-04T16:30"),
        # A day that an island left out.
        (window("09:00", "17:00", "Pacific/Apia", days=["fri"]), None, None),
        (window("12:00", "24:00"), "2026-06-01T12:00", "2026-06-02T00:00"),
    ],
)
def test_where_clocks_change(one: Window, begins: str | None, ends: str | None) -> None:
    if begins is None or ends is None:
        day = date(2011, 12, 30) if one.timezone == "Pacific/Apia" else date(2026, 3, 29)
        assert one.on(day) is None
        return
    since, until = at(begins), at(ends)
    zone = ZoneInfo(one.timezone)
    assert one.on(since.astimezone(zone).date()) == (since, until)
    assert [minimum(moment, one) for moment in (since - MINUTE, since, until - MINUTE, until)] == [0, 1, 1, 0]
    assert next_transition(SCHEDULED, [one], since) == (until, 0)


def test_a_window_that_the_clock_jumps_over_comes_a_week_later() -> None:
    sunday = window("02:10", "02:50", BERLIN, days=["sun"])
    assert next_transition(SCHEDULED, [sunday], at("2026-03-28T12:00")) == (at("2026-04-05T00:10"), 1)
    # Open all the time, until winter shortens Berlin's Sunday morning and nothing else.
    always = [window("00:00", "24:00", days=[day for day in Day if day != Day.SUN]), window("00:00", "24:00")]
    assert next_transition(SCHEDULED, always, at("2026-01-01T00:00")) is None
    summer = [window("00:00", "12:00"), window("14:00", "02:00", BERLIN)]
    assert next_transition(SCHEDULED, summer, at("2026-06-01T00:00")) == (at("2026-10-25T12:00"), 0)


def test_the_other_policies_have_no_windows() -> None:
    now = at("2026-06-01T12:00")
    assert effective_minimum(PoolPolicy.ON_DEMAND, [], now, min_workers=2) == 0
    assert effective_minimum(PoolPolicy.ALWAYS_ON, [], now) == 1
    assert effective_minimum(PoolPolicy.ALWAYS_ON, [], now, min_workers=2) == 2
    assert next_transition(PoolPolicy.ALWAYS_ON, [], now) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start": "9:00"}, "start"),
        ({"start": "24:00"}, "start"),
        ({"end": "25:00"}, "end"),
        ({"end": "09:00"}, "a whole day is 00:00 to 24:00"),
        ({"days": ["monday"]}, "'mon', 'tue'"),
        ({"days": []}, "days"),
        ({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is no IANA time zone"),
        ({"timezone": "../UTC"}, "is no IANA time zone"),
        ({"timezone": "Europe"}, "is no IANA time zone"),
        ({"min_workers": 0}, "min_workers"),
        ({"minimum": 1}, "minimum"),
    ],
)
def test_a_window_that_cannot_be_is_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Window.model_validate({"start": "09:00", "end": "18:00", "timezone": "UTC", **wrong})


def test_days_are_put_in_order_and_a_moment_needs_a_zone() -> None:
    assert window("09:00", "18:00", days=["FRI", "mon", "fri"]).days == [Day.MON, Day.FRI]
    for look in (effective_minimum, next_transition):
        with pytest.raises(ValueError, match="needs a time zone"):
            look(SCHEDULED, [], datetime(2026, 1, 1))  # noqa: DTZ001  # on purpose
