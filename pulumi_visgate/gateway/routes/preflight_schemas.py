"""Bodies of the routes that look without making anything: preflight and placements."""

from typing import Self

from pydantic import BaseModel, Field

from pulumi_visgate.gateway.routes.schemas import AnyTask, WithInput
from pulumi_visgate.gateway.services.budget import Cost
from pulumi_visgate.gateway.services.market import Pool
from pulumi_visgate.gateway.services.planning import Plan
from pulumi_visgate.gateway.services.preflight import Check, CheckName, Outcome
from pulumi_visgate.gateway.services.spots import Spot
from visgate_contract.errors import ErrorCode
from visgate_contract.families import Family
from visgate_contract.fit import GB, Fit, disk_gb
from visgate_contract.tasks import Task, TaskInput


class PreflightRequest(WithInput):
    """Find out whether a model could do something here: the body of `POST /v1/jobs`, whose input may be left out."""

    input: TaskInput | None = Field(
        default=None,
        description="Input of the task; larger pictures and longer clips need more memory.",
        examples=[{"prompt": "a red fox in the snow", "width": 1024, "height": 1024}],
    )


class PlacementQuery(BaseModel):
    """What places are wanted for."""

    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Hub id of a model; any model when left out.",
        examples=["stabilityai/sdxl-turbo"],
    )
    task: AnyTask = Field(default=Task.TEXT2IMG, description="What to ask of it.")
    region: str | None = Field(default=None, min_length=2, max_length=20, description="As in a job.", examples=["EU"])
    gpu_pool: str | None = Field(
        default=None, min_length=1, max_length=40, description="As in a job.", examples=["ADA_24"]
    )


class CheckView(BaseModel):
    """One check."""

    name: CheckName
    outcome: Outcome = Field(description="`unknown`: nothing speaks against it, but nobody can tell beforehand.")
    detail: str = Field(examples=["about 13.0 GiB of GPU memory, 10.0 GiB with one part at a time; ADA_24 holds it."])
    hint: str | None = Field(default=None, description="What would work, where it failed.")
    field: str = Field(description="Field of the request that it is about.", examples=["gpu_pool"])
    code: ErrorCode | None = Field(default=None, description="Code of the refusal, where it failed.")

    @classmethod
    def of(cls, check: Check) -> Self:
        """Return a check as it is shown."""
        code = check.code if check.outcome is Outcome.FAILED else None
        return cls(**{**_shown(check, "name", "outcome", "detail", "field"), "hint": check.hint or None, "code": code})


class Memory(BaseModel):
    """GPU memory that the request needs, estimated, in GiB."""

    whole_gib: float = Field(description="With all parts of the model in it, which is fastest.", examples=[13.0])
    by_parts_gib: float = Field(description="With one part at a time.", examples=[10.2])


class Disk(BaseModel):
    """Container disk of a worker that downloads the model, in GB."""

    needed_gb: float = Field(examples=[12.0])
    available_gb: float = Field(examples=[40.0])


class GpuView(BaseModel):
    """A GPU type of a pool."""

    gpu_type: str = Field(examples=["NVIDIA GeForce RTX 4090"])
    memory_gb: float = Field(examples=[24.0])
    usd_per_hour: float | None = Field(examples=[1.1])


class PoolView(BaseModel):
    """A GPU pool, and how the model finds room on its smallest GPU."""

    gpu_pool: str = Field(examples=["ADA_24"])
    fit: Fit | None = Field(description="None while one of the two memories is not known.")
    memory_gb: float | None = Field(examples=[24.0])
    usd_per_hour: float | None = Field(description="Of the dearest of its GPUs.", examples=[1.1])
    stock: str | None = Field(description="The best anywhere, at the moment.", examples=["HIGH"])
    gpus: list[GpuView] = Field(description="Empty while the catalog is not known.")

    @classmethod
    def of(cls, pool: Pool, fit: Fit | None) -> Self:
        """Return a pool as it is shown."""
        stock = pool.stock(None)
        return cls(
            gpu_pool=pool.id,
            fit=fit,
            memory_gb=pool.memory_gb,
            usd_per_hour=pool.usd_per_hour,
            stock=None if stock is None else stock.name,
            gpus=[
                GpuView(gpu_type=offer.id, memory_gb=offer.memory_gb, usd_per_hour=offer.usd_per_hour)
                for offer in pool.offers
            ],
        )


class CostView(BaseModel):
    """What one job may cost, in US dollars; None while prices are not known."""

    usd_per_hour: float | None = Field(description="A worker on the dearest GPU that it may get.", examples=[1.1])
    max_job_usd: float | None = Field(
        description="The longest run on that GPU, and the idle time after it.", examples=[0.29]
    )
    ceiling_usd: float | None = Field(description="What it may cost here; None without a ceiling.", examples=[0.5])

    @classmethod
    def of(cls, cost: Cost) -> Self:
        """Return a cost as it is shown."""
        rounded = None if cost.max_job_usd is None else round(cost.max_job_usd, 6)
        return cls(usd_per_hour=cost.usd_per_hour, max_job_usd=rounded, ceiling_usd=cost.ceiling_usd)


class ReasonView(BaseModel):
    """One term of a score."""

    term: str = Field(examples=["cache"])
    points: float = Field(examples=[100.0])
    detail: str = Field(examples=["volume 7xk2m9q4 holds the model"])


class Placement(BaseModel):
    """A place for a worker."""

    data_center_id: str | None = Field(description="None: Runpod chooses among all.", examples=["EU-RO-1"])
    gpu_pool: str = Field(examples=["ADA_24"])
    possible: bool = Field(description="A worker can start there.")
    score: float = Field(description="The sum of the reasons' points; the first of the list is tried first.")
    stock: str | None = Field(examples=["HIGH"])
    fit: Fit | None
    usd_per_hour: float | None = Field(examples=[1.1])
    network_volume_id: str | None = Field(description="Volume there that holds the model.")
    distance_km: float | None = Field(description="From the caller.", examples=[1290.0])
    reasons: list[ReasonView]

    @classmethod
    def of(cls, spot: Spot) -> Self:
        """Return a place as it is shown."""
        return cls(
            data_center_id=spot.data_center,
            gpu_pool=spot.pool.id,
            possible=spot.is_possible,
            score=spot.score,
            stock=None if spot.stock is None else spot.stock.name,
            fit=spot.fit,
            usd_per_hour=spot.pool.usd_per_hour,
            network_volume_id=spot.volume_id,
            distance_km=None if spot.distance_km is None else round(spot.distance_km),
            reasons=[ReasonView(**_shown(reason, "term", "points", "detail")) for reason in spot.reasons],
        )


class Placements(BaseModel):
    """Every place for a worker, the best first."""

    model: str | None = Field(examples=["stabilityai/sdxl-turbo"])
    task: Task
    near: str | None = Field(description="Where the caller is, as the CDN in front tells.", examples=["DE"])
    placements: list[Placement]


class PreflightAnswer(BaseModel):
    """Whether a model could do something here, and why."""

    ok: bool = Field(description="Nothing speaks against it; otherwise the failed checks say what would work.")
    model: str = Field(examples=["stabilityai/sdxl-turbo"])
    task: Task
    endpoint_id: str | None = Field(
        description="Endpoint of yours that would serve it, so that none has to be made.", examples=["4m7x2k9q"]
    )
    commit: str | None = Field(description="Commit of the hub that was looked at.")
    pipeline: str | None = Field(examples=["StableDiffusionXLPipeline"])
    family: Family | None
    tasks: list[Task] = Field(description="What the model can do.")
    gated: bool | None = Field(description="Its terms have to be accepted on the hub.")
    download_gb: float | None = Field(examples=[6.9])
    memory: Memory | None
    disk: Disk | None = Field(description="None where a network volume holds the model.")
    gpu_pools: list[PoolView]
    cost: CostView
    placement: Placement | None = Field(description="Where a worker would start first.")
    checks: list[CheckView]

    @classmethod
    def of(cls, plan: Plan, *, model: str, task: Task, available_gb: float, endpoint_id: str | None) -> Self:
        """Return what was found, as it is shown."""
        report, facts, need = plan.report, plan.report.facts, plan.report.need
        download = facts.download_bytes if facts else None
        best = plan.spots[0] if plan.spots and plan.spots[0].is_possible else None
        disk = None
        if download is not None and not (best and best.volume_id):
            disk = Disk(needed_gb=round(disk_gb(download), 1), available_gb=available_gb)
        return cls(
            ok=report.ok,
            model=model,
            task=task,
            endpoint_id=endpoint_id,
            commit=facts.info.commit if facts else None,
            pipeline=facts.capability.pipeline if facts else None,
            family=facts.capability.family if facts else None,
            tasks=sorted(facts.capability.tasks) if facts else list(plan.model.tasks),
            gated=facts.info.is_gated if facts else None,
            download_gb=None if download is None else round(download / GB, 2),
            memory=Memory(whole_gib=round(need.whole, 1), by_parts_gib=round(need.by_parts, 1)) if need else None,
            disk=disk,
            gpu_pools=[PoolView.of(entry.pool, entry.fit) for entry in report.pools],
            cost=CostView.of(plan.cost),
            placement=Placement.of(best) if best else None,
            checks=[CheckView.of(check) for check in report.checks],
        )


def _shown(thing: object, *names: str) -> dict[str, object]:
    return {name: getattr(thing, name) for name in names}
