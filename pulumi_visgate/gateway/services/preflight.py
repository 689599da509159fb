"""Whether a model can run here, found out before anything is created; pure functions over facts and prices.

Every check says what it has found, and a failed one what would work. The first that failed decides the code of the
refusal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pulumi_visgate.gateway.problems import FieldProblem, Refused
from pulumi_visgate.gateway.services.market import Pool
from pulumi_visgate.hub.errors import Gated, HubError, Passing, TokenRefused
from pulumi_visgate.hub.facts import ModelFacts
from visgate_contract.capabilities import Capability
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.fit import DISK_RESERVE_GB, GB, GIB, Fit, Need, disk_gb, need, working_gib
from visgate_contract.tasks import Task

TOKEN_FIELD = "X-HF-Token"  # noqa: S105, the name of a header

_STATUS = {ErrorCode.MODEL_NOT_FOUND: 404, ErrorCode.MODEL_GATED: 403, ErrorCode.HUB_UNREACHABLE: 502}
_UNPROCESSABLE = 422


class Outcome(StrEnum):
    """What a check has found."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class CheckName(StrEnum):
    """What is checked, in this order."""

    MODEL = "model"
    TOKEN = "token"  # noqa: S105, no secret
    FORMAT = "format"
    TASK = "task"
    MEMORY = "memory"
    DISK = "disk"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: What was checked.
        outcome: What came of it.
        detail: What was found.
        hint: What would work, if it failed.
        field: The field of the request that it is about.
        code: Code of the refusal, if it failed.
    """

    name: CheckName
    outcome: Outcome
    detail: str
    hint: str = ""
    field: str = "model"
    code: ErrorCode = ErrorCode.INVALID_REQUEST


@dataclass(frozen=True, slots=True)
class PoolFit:
    """How a model finds room in a GPU pool.

    Args:
        pool: The pool.
        fit: Whole, by its parts, or not at all; None when the memory of one of the two is not known.
    """

    pool: Pool
    fit: Fit | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked.

    Args:
        model_id: Hub id.
        task: Task.
        tasks: What the platform lets callers ask of the model; everything it can when empty.
        pools: GPU pools that a worker may get.
        disk_gb: Container disk of workers, in GB.
        on_volume: A volume holds it, so that nothing is downloaded.
        has_token: The request brought a Hugging Face token.
        allow_pickles: Weights that can run code are allowed here.
        width: Pixels that are asked for.
        height: Pixels that are asked for.
        num_frames: Frames that are asked for.
    """

    model_id: str
    task: Task
    tasks: tuple[Task, ...] = ()
    pools: tuple[Pool, ...] = ()
    disk_gb: float = 0.0
    on_volume: bool = False
    has_token: bool = False
    allow_pickles: bool = False
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Args:
        checks: In order.
        facts: What the hub tells; None when it was not asked, or does not have the model.
        need: GPU memory of the request; None when it is not known.
        pools: How it fits.
    """

    checks: tuple[Check, ...]
    facts: ModelFacts | None = None
    need: Need | None = None
    pools: tuple[PoolFit, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Nothing speaks against it."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome is Outcome.FAILED)

    @property
    def capability(self) -> Capability | None:
        """What the model is for."""
        return self.facts.capability if self.facts else None

    def fitting(self) -> tuple[str, ...]:
        """Return the pools that hold the model: those that hold it whole, or else those that hold its parts."""
        known = [entry for entry in self.pools if entry.fit is not None]
        for wanted in (Fit.WHOLE, Fit.BY_PARTS):
            if found := tuple(entry.pool.id for entry in known if entry.fit is wanted):
                return found
        return tuple(entry.pool.id for entry in self.pools)

    def require(self) -> None:
        """Refuse what cannot run.

        Raises:
            Refused: A check failed; the answer names all that did, and what would work.
        """
        if self.ok:
            return
        first = self.failed[0]
        raise Refused(
            _STATUS.get(first.code, _UNPROCESSABLE),
            f"{first.field}: {first.detail}",
            code=first.code,
            hint=first.hint,
            fields=[FieldProblem(field=check.field, detail=check.detail) for check in self.failed],
        )


def of_hub_error(subject: Subject, error: HubError, *, is_offered: bool) -> Report:
    """Return the report for a model that the hub does not give.

    Args:
        subject: What was checked.
        error: What the hub said.
        is_offered: The platform vouches for the model, so that a silent hub is no reason to refuse it.
    """
    if subject.on_volume or (is_offered and isinstance(error, Passing)):
        where = "a volume of the platform holds it" if subject.on_volume else "the platform offers it"
        detail = f"The hub does not tell of it ({error.detail.rstrip('.')}), but {where}."
        checks = (Check(CheckName.MODEL, Outcome.UNKNOWN, detail), _offered_task(subject))
        return Report(checks, pools=tuple(PoolFit(pool, None) for pool in subject.pools))
    if isinstance(error, Passing):
        hint = "Try again in a moment; nothing was created."
        check = Check(CheckName.MODEL, Outcome.FAILED, error.detail, hint, code=ErrorCode.HUB_UNREACHABLE)
    elif isinstance(error, TokenRefused):
        hint = f"Make a new one on the hub and send it as {TOKEN_FIELD}."
        check = Check(CheckName.TOKEN, Outcome.FAILED, error.detail, hint, TOKEN_FIELD)
    elif isinstance(error, Gated):
        check = _gated(subject, error.detail)
    elif error.code is ErrorCode.MODEL_NOT_FOUND:
        hint = f"Check the id; a private model needs a token that may read it, as {TOKEN_FIELD}."
        check = Check(CheckName.MODEL, Outcome.FAILED, error.detail, hint, code=error.code)
    else:
        code = ErrorCode.MODEL_NOT_SUPPORTED
        check = Check(CheckName.FORMAT, Outcome.FAILED, error.detail, error.hint, code=code)
    return Report((check,))


def on_volume(subject: Subject) -> Report:
    """Return the report for a model that the platform offers and has put on its volumes: it has vouched for it."""
    detail = "the platform offers it, and a network volume holds it."
    checks = (Check(CheckName.MODEL, Outcome.OK, detail), _offered_task(subject))
    return Report(checks, pools=tuple(PoolFit(pool, None) for pool in subject.pools))


def of_facts(subject: Subject, facts: ModelFacts) -> Report:
    """Return the report for a model that the hub tells of."""
    size = working_gib(
        width=subject.width,
        height=subject.height,
        num_frames=subject.num_frames,
        is_clip=subject.task.endswith("video"),
    )
    wanted = need(facts.parts, size) if facts.parts else None
    pools = tuple(PoolFit(pool, _fit(wanted, pool)) for pool in subject.pools)
    checks = (*_about_model(subject, facts), *_about_size(subject, facts, wanted, pools))
    return Report(checks, facts, wanted, pools)


def _about_model(subject: Subject, facts: ModelFacts) -> Iterator[Check]:
    info, capability = facts.info, facts.capability
    yield Check(CheckName.MODEL, Outcome.OK, f"{info.model_id} at {info.commit[:12]}, a {capability.pipeline}.")
    opened = "is gated, and the token opens it." if info.is_gated else "needs no token."
    yield Check(CheckName.TOKEN, Outcome.OK, f"{info.model_id} {opened}", field=TOKEN_FIELD)
    yield _format(subject, facts)
    if capability.tasks:
        yield _task(subject, capability)


def _format(subject: Subject, facts: ModelFacts) -> Check:
    refuse = ErrorCode.MODEL_NOT_SUPPORTED
    if not facts.capability.tasks:
        detail = f"{facts.info.model_id} is a {facts.capability.pipeline}: {facts.capability.problem}."
        hint = "Choose a model whose pipeline, and every part of it, is a class of diffusers or transformers."
        return Check(CheckName.FORMAT, Outcome.FAILED, detail, hint, code=refuse)
    if facts.pickled and not subject.allow_pickles:
        detail = f"{', '.join(facts.pickled)} has no safetensors, only pickles, which can run code when they are read."
        hint = "Choose a revision with safetensors, or have whoever runs this platform allow pickles."
        return Check(CheckName.FORMAT, Outcome.FAILED, detail, hint, code=refuse)
    if not facts.parts:
        detail = "it has no weights that a worker could load."
        return Check(CheckName.FORMAT, Outcome.FAILED, detail, "Choose a model for diffusers.", code=refuse)
    kind = "pickles, which this platform allows" if facts.pickled else "safetensors"
    return Check(CheckName.FORMAT, Outcome.OK, f"diffusers format with {kind}.")


def _task(subject: Subject, capability: Capability) -> Check:
    try:
        capability.route(subject.task, model_id=subject.model_id)
    except ContractError as error:
        return Check(CheckName.TASK, Outcome.FAILED, error.detail, error.hint, "task", error.code)
    can = ", ".join(sorted(capability.tasks))
    return Check(CheckName.TASK, Outcome.OK, f"a {capability.pipeline} can do {can}.", field="task")


def _offered_task(subject: Subject) -> Check:
    detail = f"The platform offers it for {', '.join(subject.tasks) or subject.task}."
    return Check(CheckName.TASK, Outcome.UNKNOWN, detail, field="task")


def _gated(subject: Subject, detail: str) -> Check:
    page = f"Accept the terms of {subject.model_id} on its page at the hub"
    if subject.has_token:
        text, hint = "The given token does not open it.", f"{page}, with the account of the token."
    else:
        text, hint = "The request has no token.", f"{page}, and send a token of that account as {TOKEN_FIELD}."
    code = ErrorCode.MODEL_GATED
    return Check(CheckName.TOKEN, Outcome.FAILED, f"{detail} {text}", hint, TOKEN_FIELD, code)


def _about_size(subject: Subject, facts: ModelFacts, wanted: Need | None, pools: Sequence[PoolFit]) -> Iterator[Check]:
    if wanted is not None and pools:
        yield _memory(wanted, pools, facts)
    if subject.on_volume:
        yield Check(CheckName.DISK, Outcome.OK, "a network volume holds it.")
        return
    needed = disk_gb(facts.download_bytes)
    if needed <= subject.disk_gb:
        detail = f"{facts.download_bytes / GB:.1f} GB to download, {subject.disk_gb:g} GB of container disk."
        yield Check(CheckName.DISK, Outcome.OK, detail)
        return
    detail = (
        f"a worker has to download {facts.download_bytes / GB:.1f} GB, which needs {needed:.0f} GB of container disk "
        f"({DISK_RESERVE_GB:g} GB stay free); workers here have {subject.disk_gb:g} GB."
    )
    hint = "Whoever runs this platform can put it on a network volume, or raise the container disk."
    yield Check(CheckName.DISK, Outcome.FAILED, detail, hint, code=ErrorCode.MODEL_TOO_LARGE)


def _memory(wanted: Need, pools: Sequence[PoolFit], facts: ModelFacts) -> Check:
    about = f"about {wanted.whole:.1f} GiB of GPU memory, {wanted.by_parts:.1f} GiB with one part at a time"
    fits = {fit: [entry.pool.id for entry in pools if entry.fit is fit] for fit in (*Fit, None)}
    if whole := fits[Fit.WHOLE]:
        return Check(CheckName.MEMORY, Outcome.OK, f"{about}; {', '.join(whole)} hold it whole.", field="gpu_pool")
    if parts := fits[Fit.BY_PARTS]:
        detail = f"{about}; {', '.join(parts)} hold it part by part, which is slower."
        return Check(CheckName.MEMORY, Outcome.OK, detail, field="gpu_pool")
    if fits[None]:
        detail = f"{about}; the memory of {', '.join(fits[None])} is not known."
        return Check(CheckName.MEMORY, Outcome.UNKNOWN, detail, field="gpu_pool")
    largest = max(entry.pool.memory_gb or 0 for entry in pools)
    detail = f"{about} are needed, and the GPUs it may run on have {largest:g} GB at most."
    weights = max(part.loaded_bytes for part in facts.parts) / GIB
    smaller = "Ask for a smaller picture or a shorter clip, or choose" if weights < largest else "Choose"
    hint = f"{smaller} a GPU pool with {wanted.by_parts:.0f} GB or more; GET /v1/placements shows what there is."
    return Check(CheckName.MEMORY, Outcome.FAILED, detail, hint, "gpu_pool", ErrorCode.MODEL_TOO_LARGE)


def _fit(wanted: Need | None, pool: Pool) -> Fit | None:
    memory = pool.memory_gb
    return None if wanted is None or memory is None else wanted.on(memory)
