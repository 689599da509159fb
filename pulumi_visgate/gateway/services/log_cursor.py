"""How far a client has read in the logs of several workers: the id of each event, and what it sends to resume."""

from collections import OrderedDict
from datetime import datetime

from pulumi_visgate.gateway.services.log_feed import Place

MAX_CHARACTERS = 2_000
MAX_WORKERS = 16
"""Of more workers, those that have been silent for longest are left out; they resume at the oldest time there is."""

_OF, _AND, _NTH = "@", ",", "~"


class Cursor:
    """A place in each of several logs.

    Args:
        text: As an event's id says it, or a time (RFC 3339), or nothing.
    """

    def __init__(self, text: str = "") -> None:
        self._places: OrderedDict[str, Place] = OrderedDict()
        self.rest: datetime | None = None
        for part in text[:MAX_CHARACTERS].split(_AND) if _OF in text else ():
            worker, _, place = part.partition(_OF)
            identifier, _, nth = place.partition(_NTH)
            if worker and identifier and (not nth or nth.isdecimal()):
                self._places[worker] = Place(identifier, int(nth or 1))
        if not self._places:
            self.rest = _time(text)
        elif len(self._places) >= MAX_WORKERS:
            times = [moment for place in self._places.values() if (moment := time_of(place)) is not None]
            self.rest = min(times, default=None)

    def place(self, worker_id: str) -> Place | None:
        """Return the last line that was read of a worker's log."""
        return self._places.get(worker_id)

    def move(self, worker_id: str, place: Place) -> None:
        """Note that a line was read."""
        self._places[worker_id] = place
        self._places.move_to_end(worker_id)
        if len(self._places) > MAX_WORKERS:
            self._places.popitem(last=False)

    def __str__(self) -> str:
        return _AND.join(
            f"{worker}{_OF}{place.id}" + (f"{_NTH}{place.nth}" if place.nth > 1 else "")
            for worker, place in self._places.items()
        )


def time_of(place: Place) -> datetime | None:
    """Return the time of a line: Runpod's ids begin with it."""
    return _time(place.id.partition("/")[0])


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
