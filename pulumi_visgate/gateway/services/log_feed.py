"""One worker's log, read from Runpod once for everyone who listens to it, masked once, and kept for a moment.

The memory of a feed has a bound, whoever is slow: lines are forgotten when newer ones come, and a listener who did not
read them in time is told how many there were.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, Field

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.masking import Masker
from pulumi_visgate.runpod.errors import NotFound, RunpodError
from pulumi_visgate.runpod.models.logs import LogLine

KEPT_LINES = 1_000
KEPT_CHARACTERS = 1_000_000
OPENING_S = 3.0
SETTLED_S = 0.3
"""So long without a line, and what was written before the feed was opened is here."""

CLOCKS = timedelta(seconds=1)
"""A line so much younger than the feed was written after it was opened, though clocks differ."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class TunnelledLine(BaseModel):
    """One line of a worker's log."""

    worker_id: str = Field(examples=["8g3n5t6r"])
    source: str = Field(examples=["container"])
    line: str = Field(examples=["step 4 of 8"])
    ts: datetime = Field(examples=["2026-11-01T12:00:04Z"])


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a worker's log: Runpod's id of a line and, as ids can repeat, which line of that id."""

    id: str
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, ready to be sent.

    Args:
        place: Where it is.
        ts: When it was written.
        data: The line as JSON.
    """

    place: Place
    ts: datetime
    data: str


class Writer:
    """Turns the lines of one worker into entries, in order.

    Args:
        worker_id: Whose lines.
        masker: Masks them.
    """

    def __init__(self, worker_id: str, masker: Masker) -> None:
        self._worker_id = worker_id
        self._masker = masker
        self._streams: dict[str, Callable[[str], str]] = {}
        self._last = Place("", 0)

    def entry(self, found: LogLine) -> Entry:
        """Return the entry of the next line."""
        self._last = Place(found.id, self._last.nth + 1 if found.id == self._last.id else 1)
        source = str(found.source)
        text = self.shown(source, found.line)
        data = TunnelledLine(worker_id=self._worker_id, source=source, line=text, ts=found.ts).model_dump_json()
        return Entry(self._last, found.ts, data)

    def shown(self, source: str, text: str) -> str:
        """Return a line as it is shown: of one that a progress bar overwrites the last state, without its colours."""
        shown = _ANSI.sub("", text.rstrip("\r\n").rpartition("\r")[2])
        mask = self._streams.get(source)
        if mask is None:
            mask = self._streams[source] = self._masker.stream()
        return masking.visible(mask(shown)[: masking.MAX_LINE_CHARACTERS])

    def learn(self, masker: Masker) -> bool:
        """Mask what another masker masks, too; tell whether that is more than before."""
        is_news = self._masker.learn_from(masker)
        if is_news:
            self._streams.clear()
        return is_news


class Feed:
    """A worker's log as it comes, and its last lines.

    It is settled when the lines that were there before the feed are here, and whole as long as none is forgotten.

    Args:
        caller: Whose worker; every listener's key is the same one.
        endpoint_id: Endpoint of the worker.
        worker_id: The worker.
        masker: Masks what the first listener's masks.
    """

    def __init__(self, caller: Caller, endpoint_id: str, worker_id: str, masker: Masker) -> None:
        self.worker_id = worker_id
        self.done = False
        self.error: RunpodError | None = None
        self.is_whole = True
        self.is_settled = False
        self._writer = Writer(worker_id, masker.fresh())
        self._entries: deque[Entry] = deque()
        self._first = 0
        self._characters = 0
        self._listeners: list[asyncio.Event] = []
        self._task = asyncio.create_task(self._read(caller, endpoint_id))

    @property
    def end(self) -> int:
        """The number of the line that comes next."""
        return self._first + len(self._entries)

    @property
    def is_over(self) -> bool:
        """No line will come any more."""
        return self.done or self.error is not None

    def join(self, wake: asyncio.Event, masker: Masker) -> None:
        """Set an event at every line; mask what this listener knows to be secret, too."""
        if self._writer.learn(masker):
            again = [Entry(entry.place, entry.ts, _masked(entry.data, masker)) for entry in self._entries]
            self._entries = deque(again)
        self._listeners.append(wake)

    def leave(self, wake: asyncio.Event) -> bool:
        """Set an event no more; tell whether nobody listens any more."""
        self._listeners.remove(wake)
        return not self._listeners

    def read(self, number: int, most: int) -> tuple[int, int, list[Entry]]:
        """Return the lines from a number on.

        Returns:
            How many lines before these have been forgotten, the number after these, and these.
        """
        begin = max(number, self._first)
        end = min(self.end, begin + most)
        return begin - number, end, [self._entries[at - self._first] for at in range(begin, end)]

    def find(self, place: Place) -> int | None:
        """Return the number of the line at a place, or None."""
        at = next((n for n, entry in enumerate(reversed(self._entries), start=1) if entry.place == place), None)
        return None if at is None else self.end - at

    def since(self, moment: datetime) -> int | None:
        """Return the number of the first line that is not older, or None when such lines may be forgotten."""
        if not self.is_whole and (not self._entries or self._entries[0].ts >= moment):
            return None
        for at in range(len(self._entries), 0, -1):
            if self._entries[at - 1].ts < moment:
                return self._first + at
        return self._first

    def newest(self, lines: int) -> int:
        """Return the number of the line that so many lines follow, itself included."""
        return max(self._first, self.end - lines)

    async def close(self) -> None:
        """Stop reading."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self, caller: Caller, endpoint_id: str) -> None:
        loop = asyncio.get_running_loop()
        quiet = latest = loop.call_later(OPENING_S, self._settle)
        live = datetime.now(UTC) + CLOCKS
        try:
            async with aclosing(caller.runpod.get_worker_logs(endpoint_id, self.worker_id, tail=KEPT_LINES)) as stream:
                async for line in stream:
                    self._add(self._writer.entry(line))
                    if not self.is_settled:
                        quiet.cancel()
                        quiet = loop.call_later(0 if line.ts >= live else SETTLED_S, self._settle)
        except NotFound:
            pass  # the worker has gone, and its log with it
        except RunpodError as error:
            self.error = error
        finally:
            quiet.cancel()
            latest.cancel()
            self.done = self.error is None
            self._settle()

    def _settle(self) -> None:
        self.is_settled = True
        self._wake()

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._characters += len(entry.data)
        if len(self._entries) == KEPT_LINES and not self.is_settled:
            self.is_whole = False  # as many lines as were asked for, so there may have been more
        while len(self._entries) > KEPT_LINES or self._characters > KEPT_CHARACTERS:
            self._characters -= len(self._entries.popleft().data)
            self._first += 1
            self.is_whole = False
        self._wake()

    def _wake(self) -> None:
        for event in self._listeners:
            event.set()


def _masked(data: str, masker: Masker) -> str:
    return masker.model(TunnelledLine.model_validate_json(data)).model_dump_json()


class Feeds:
    """The feeds that somebody listens to."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[str, str, str], Feed] = {}

    @asynccontextmanager
    async def listening(
        self, caller: Caller, endpoint_id: str, worker_id: str, wake: asyncio.Event
    ) -> AsyncIterator[Feed]:
        """Give a worker's feed; the last listener who leaves closes it.

        Args:
            caller: Who listens.
            endpoint_id: Endpoint of the worker.
            worker_id: The worker.
            wake: Set at every line.
        """
        key, masker = (caller.user_hash, endpoint_id, worker_id), masking.current()
        feed = self._feeds.get(key)
        if feed is None or feed.is_over:
            feed = self._feeds[key] = Feed(caller, endpoint_id, worker_id, masker)
        feed.join(wake, masker)
        try:
            yield feed
        finally:
            if feed.leave(wake):
                if self._feeds.get(key) is feed:
                    del self._feeds[key]
                await feed.close()
