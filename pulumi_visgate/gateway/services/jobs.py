"""Jobs as they are read: from Runpod while it knows them, then from their ledgers, with links that are good now."""

from collections.abc import Callable

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services import job_view, limits
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.services.ledgers import Ledgers
from pulumi_visgate.gateway.services.links import Links
from pulumi_visgate.gateway.services.waiting import Waiting
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.events import Artifact, Event
from visgate_contract.signing import JobRef


class Jobs:
    """Reads jobs.

    Args:
        ledgers: What became of jobs that Runpod has forgotten.
        links: Makes links to artifacts.
        seen: Told of every status that is read.
    """

    def __init__(self, ledgers: Ledgers, links: Links, *, seen: Callable[[JobStatus], None]) -> None:
        self._ledgers = ledgers
        self._links = links
        self._seen = seen

    async def status(self, caller: Caller, ref: JobRef) -> JobStatus:
        """Return a job's status; one that has not begun in time is cancelled.

        Raises:
            NotFound: Neither Runpod nor a ledger knows it.
            RunpodError: Runpod refused or did not answer.
        """
        try:
            job = await caller.runpod.job_status(ref.endpoint_id, ref.runpod_job_id)
        except NotFound:
            return await self.forgotten(caller, ref)
        self._seen(job)
        return await limits.enforced(caller, ref, job)

    async def forgotten(self, caller: Caller, ref: JobRef) -> JobStatus:
        """Return the end of a job that Runpod has forgotten, from its ledger.

        Raises:
            NotFound: There is no ledger, or none that tells of the job's end.
        """
        ledger = await self._ledgers.read(caller.user_hash, ref.task_id) if ref.task_id else None
        known = job_view.of_ledger(ref, ledger) if ledger is not None else None
        if known is None:
            detail = "Runpod has forgotten this job, as it does half an hour after the end or when its life is over."
            raise NotFound(404, "Not Found", detail)
        return known

    def view(
        self, caller: Caller, ref: JobRef, job_id: str, job: JobStatus, *, waiting: Waiting | None = None
    ) -> JobView:
        """Return the caller's view of a job, with every secret masked that a worker may have put into it."""
        view = masking.current().model(job_view.view(ref, job_id, job))
        links = self._renewed(view.artifacts, view.receipt_url, user_hash=caller.user_hash, task_id=view.task_id)
        return view.model_copy(update={"waiting": waiting, **links})

    def event(self, caller: Caller, event: Event) -> Event:
        """Return an event as its caller may see it now: masked, with links that are good."""
        masked = masking.current().model(event)
        if not masked.data.artifacts:
            return masked
        data = masked.data
        links = self._renewed(data.artifacts, data.receipt_url, user_hash=caller.user_hash, task_id=data.task_id)
        return masked.model_copy(update={"data": data.model_copy(update=links)})

    def _renewed(
        self, artifacts: tuple[Artifact, ...], receipt_url: str | None, *, user_hash: str, task_id: str | None
    ) -> dict[str, object]:
        return {
            "artifacts": self._links.renewed(artifacts, user_hash=user_hash, task_id=task_id),
            "receipt_url": self._links.renew(receipt_url, user_hash=user_hash, task_id=task_id),
        }
