"""The ledger of a job in the bucket, read and written by presigned requests; bounded in time, never in a job's way."""

import asyncio
import logging
import time

import httpx
from pydantic import ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from visgate_contract.events import Status
from visgate_contract.ledger import CONTENT_TYPE, Delivery, Ledger, LedgerGrant
from visgate_worker.link import ActiveJob

log = logging.getLogger(__name__)

ATTEMPT_TIMEOUT_S = 3.0
ATTEMPTS = 3
MAX_BYTES = 1024 * 1024
FRESH_S = 1.0
"""For how long after a write nobody else is expected to have written."""

# A store tells whoever may not list a bucket that a missing object is forbidden.
_MISSING = frozenset({httpx.codes.NOT_FOUND, httpx.codes.FORBIDDEN})


class _TryAgain(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    pass


class LedgerStore:
    """Ledgers in object storage.

    Args:
        client: HTTP client; must not follow redirects, since the signatures are for one place.
        first_wait_s: Wait before the second attempt, in seconds; doubles from there.
    """

    def __init__(self, client: httpx.AsyncClient, *, first_wait_s: float = 0.2) -> None:
        self._client = client
        self._first_wait_s = first_wait_s

    async def read(self, grant: LedgerGrant) -> Ledger | None:
        """Return the ledger, or None if there is none, or none that can be had."""
        answer = await self._send("GET", grant.get_url)
        if answer is None or answer.status_code in _MISSING:
            return None
        if not answer.is_success or len(answer.content) > MAX_BYTES:
            log.warning("the ledger cannot be read: the store answered %d", answer.status_code)
            return None
        try:
            return Ledger.model_validate_json(answer.content)
        except ValidationError:
            log.warning("the ledger in the bucket is none that this worker understands; it is begun anew")
            return None

    async def write(self, grant: LedgerGrant, ledger: Ledger) -> bool:
        """Write the ledger; tell whether the store has it."""
        answer = await self._send("PUT", grant.put_url, ledger.body())
        if answer is not None and answer.is_success:
            return True
        reason = "it did not answer" if answer is None else f"it answered {answer.status_code}"
        log.warning("the ledger of %s cannot be written: %s", ledger.task_id, reason)
        return False

    async def _send(self, method: str, url: str, body: bytes | None = None) -> httpx.Response | None:
        headers = {"content-type": CONTENT_TYPE} if body is not None else {}
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=self._first_wait_s, max=2),
            reraise=True,
        )

        async def once() -> httpx.Response:
            try:
                async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                    answer = await self._client.request(method, url, content=body, headers=headers)
            except (httpx.TransportError, TimeoutError) as error:
                raise _TryAgain(type(error).__name__) from None
            if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise _TryAgain(str(answer.status_code))
            return answer

        try:
            return await attempts(once)
        except (_TryAgain, httpx.InvalidURL):
            return None


class JobLedger:
    """The ledger of one job that this worker has begun, as often as it may be; always the newest state is written.

    Args:
        job: The job.
        store: Where the ledger is kept.
    """

    def __init__(self, job: ActiveJob, store: LedgerStore) -> None:
        ticket = job.ledger.ticket if job.ledger else None
        self._known = Ledger(task_id=job.task_id, runpod_job_id=job.runpod_job_id, ticket=ticket)
        self._grant = job.ledger
        self._store = store
        self._was_begun = False
        self._written_at = float("-inf")
        self._unsaved = asyncio.Event()
        self._saved = asyncio.Event()
        self._saved.set()
        self._saving = asyncio.get_running_loop().create_task(self._save_all()) if self._grant else None

    @property
    def is_saved(self) -> bool:
        """The store has everything."""
        return self._saved.is_set()

    async def begin(self) -> tuple[int, Delivery | None]:
        """Claim the next attempt, and return its number, and the end of an attempt that has already done the job."""
        mine = self._known
        known = mine if self._was_begun else await self._read()
        if known is not None:
            done = _done(known)
            # Another job of the same task is the same request, sent twice: it tells the same events.
            is_retry = known.runpod_job_id == mine.runpod_job_id and done is None
            self._known = known.model_copy(update={"attempt": known.attempt + 1}) if is_retry else known
            self._known = self._known.noting(*mine.deliveries)
        else:
            done = None
        self._was_begun = True
        self._written_at = time.monotonic()  # it was read just now
        self._save()
        return self._known.attempt, done

    def note(self, delivery: Delivery, *, save: bool = True) -> None:
        """Take in what became of an event.

        Args:
            delivery: The event and what became of it.
            save: Write it now; else with whatever is written next.
        """
        self._known = self._known.noting(delivery)
        if save:
            self._save()

    async def saved(self) -> None:
        """Wait until the store has everything, or does not take it."""
        await self._saved.wait()

    async def close(self, limit_s: float) -> None:
        """Write what is left and end.

        Args:
            limit_s: Seconds for that.
        """
        if self._saving is None or self._saving.done():
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._saved.wait()
        except TimeoutError:
            log.warning("the ledger of %s does not have everything", self._known.task_id)
        self.stop()
        await asyncio.gather(self._saving, return_exceptions=True)

    def stop(self) -> None:
        """End without writing anything more."""
        if self._saving is not None:
            self._saving.cancel()

    def _save(self) -> None:
        if self._grant is not None:
            self._saved.clear()
            self._unsaved.set()

    async def _read(self) -> Ledger | None:
        found = await self._store.read(self._grant) if self._grant is not None else None
        return found if found is not None and found.task_id == self._known.task_id else None

    async def _save_all(self) -> None:
        while self._grant is not None:
            await self._unsaved.wait()
            self._unsaved.clear()
            if time.monotonic() - self._written_at > FRESH_S:
                await self._catch_up()
            await self._store.write(self._grant, self._known)
            self._written_at = time.monotonic()
            if not self._unsaved.is_set():
                self._saved.set()

    async def _catch_up(self) -> None:
        """Another worker may have begun another attempt since."""
        found = await self._read()
        if found is not None and found.attempt > self._known.attempt:
            self._known = found.noting(*self._known.deliveries)


def _done(ledger: Ledger) -> Delivery | None:
    end = ledger.end()
    if end is None or end.data.status is not Status.READY:
        return None
    return next(one for one in ledger.deliveries if one.event.id == end.id)
