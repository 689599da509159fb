"""Pool policies: who keeps how many workers warm, and when.

Everything here looks at one moment and nothing else, so a missed tick, a restart or a clock that jumps changes nothing.

A window is one stretch of time on each of its days. Where clocks change it is never shorter than its wall clock says:
it begins when the clock first shows `start`, and ends when the clock last shows `end`. A time that the clock jumps over
is the moment of the jump, so a window that lies wholly inside the jump does not happen that day.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_START = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_MINUTES_OF_DAY = 24 * 60
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
# Windows repeat every week; only a change of clocks moves the first difference further away, and those repeat yearly.
_SEARCHED_DAYS = (9, 91, 300)


class PoolPolicy(StrEnum):
    """How many workers a pool keeps when nobody asks."""

    ALWAYS_ON = "always_on"
    SCHEDULED_WARM = "scheduled_warm"
    ON_DEMAND = "on_demand"


class Day(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEK = tuple(Day)


def _in_order(days: list[Day]) -> list[Day]:
    return [day for day in _WEEK if day in days]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not there, a folder of zones, or no name at all
        message = f"{name!r} is no IANA time zone; use a name such as Europe/Berlin or UTC"
        raise ValueError(message) from None
    return name


class Window(BaseModel):
    """A time of the week in which a pool keeps workers.

    Args:
        start: Wall clock time as `HH:MM` from which the workers are kept.
        end: Wall clock time as `HH:MM` until which they are, or `24:00`; on the next day when it is before `start`.
        days: Days on which the window begins, `mon` to `sun`; every day when left out.
        timezone: IANA name of the zone of the wall clock.
        min_workers: Workers that are kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(pattern=f"^{_START}$")
    end: str = Field(pattern=f"^({_START}|24:00)$")
    days: Annotated[list[Annotated[Day, BeforeValidator(_lower)]], AfterValidator(_in_order)] = Field(
        default_factory=lambda: list(_WEEK), min_length=1
    )
    timezone: Annotated[str, AfterValidator(_known_zone)]
    min_workers: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.start == self.end:
            message = "start and end are the same; a whole day is 00:00 to 24:00"
            raise ValueError(message)
        return self

    def on(self, day: date) -> tuple[datetime, datetime] | None:
        """Return when the window begins and ends that begins on a day, in UTC, or None when there is none."""
        if _WEEK[day.weekday()] not in self.days:
            return None
        zone = ZoneInfo(self.timezone)
        start, end = _minutes(self.start), _minutes(self.end)
        overnight = _DAY if end <= start else timedelta()
        begins = _instant(day, start, zone, last=False)
        ends = _instant(day + overnight, end, zone, last=True)
        return (begins, ends) if begins < ends else None


def effective_minimum(policy: PoolPolicy, windows: Sequence[Window], now: datetime, *, min_workers: int = 0) -> int:
    """Return how many workers a pool keeps at a moment.

    Args:
        policy: Its policy.
        windows: Its windows; where several are open, the one with the most workers counts.
        now: The moment, with a time zone.
        min_workers: Workers it always keeps; those of an `always_on` pool are at least one.

    Raises:
        ValueError: `now` has no time zone.
    """
    now = _utc(now)
    if policy == PoolPolicy.ALWAYS_ON:
        return max(min_workers, 1)
    if policy == PoolPolicy.ON_DEMAND:
        return 0
    opened = [w.min_workers for w in windows for begins, ends in _spans(w, now, now) if begins <= now < ends]
    return max([min_workers, *opened])


def next_transition(
    policy: PoolPolicy, windows: Sequence[Window], now: datetime, *, min_workers: int = 0
) -> tuple[datetime, int] | None:
    """Return when `effective_minimum` changes next, in UTC, and what it is then; None when it never does.

    Args:
        policy: The pool's policy.
        windows: Its windows.
        now: The moment to look from, with a time zone.
        min_workers: Workers it always keeps.

    Raises:
        ValueError: `now` has no time zone.
    """
    now = _utc(now)
    if policy != PoolPolicy.SCHEDULED_WARM:
        return None
    current = effective_minimum(policy, windows, now, min_workers=min_workers)
    since = now
    for days in _SEARCHED_DAYS:
        until = since + timedelta(days=days)
        edges = {edge for window in windows for span in _spans(window, since, until) for edge in span}
        for edge in sorted(edge for edge in edges if since < edge <= until):
            then = effective_minimum(policy, windows, edge, min_workers=min_workers)
            if then != current:
                return edge, then
        since = until
    return None


def _spans(window: Window, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield every span of a window that touches a stretch of time, and some beside it."""
    day = since.date() - 2 * _DAY  # a day for zones ahead of UTC, a day for windows over midnight
    while day <= until.date() + _DAY:
        if span := window.on(day):
            yield span
        day += _DAY


def _instant(day: date, minutes: int, zone: ZoneInfo, *, last: bool) -> datetime:
    """Return when clocks of a zone show a time of a day.

    Args:
        day: The day.
        minutes: Minutes since its midnight, to 24 hours.
        zone: Zone of the clocks.
        last: The second of two moments, where clocks are set back.
    """
    days, rest = divmod(minutes, _MINUTES_OF_DAY)
    wall = datetime.combine(day + days * _DAY, time(rest // 60, rest % 60))
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if late >= early:
        return late if last else early
    return _jump(late, early, zone)  # clocks jump over it


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment between two others at which the clocks of a zone are changed, to the second."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        message = "a moment needs a time zone"
        raise ValueError(message)
    return moment.astimezone(UTC)
