"""What a platform offers, and what it tells before anything is made."""

from pulumi_visgate.client.models import Answer


class OfferedModel(Answer):
    """A model that the platform offers (`GET /v1/models`).

    Args:
        model: Hub id.
        revision: Commit, tag or branch; the hub's default when None.
        tasks: What can be asked of it.
        policy: How its pool is kept.
    """

    model: str
    revision: str | None
    tasks: tuple[str, ...]
    policy: str


class Reason(Answer):
    """One term of a placement's score."""

    term: str
    points: float
    detail: str


class Placement(Answer):
    """A place for a worker.

    Args:
        data_center_id: Data center; None when Runpod chooses among all.
        gpu_pool: GPU pool.
        possible: A worker can start there.
        score: The higher, the better: the sum of the reasons' points.
        stock: `HIGH`, `MEDIUM`, `LOW` or `NONE`.
        fit: How the model finds room: `whole`, `by_parts` or `no`.
        usd_per_hour: Of the dearest of its GPUs.
        network_volume_id: Volume there that holds the model.
        distance_km: From the caller.
        reasons: Why it has this score.
    """

    data_center_id: str | None
    gpu_pool: str
    possible: bool
    score: float
    stock: str | None
    fit: str | None
    usd_per_hour: float | None
    network_volume_id: str | None
    distance_km: float | None
    reasons: tuple[Reason, ...]


class Placements(Answer):
    """Every place for a worker, the best first (`GET /v1/placements`)."""

    model: str | None
    task: str
    near: str | None
    placements: tuple[Placement, ...]


class Check(Answer):
    """One check of a preflight.

    Args:
        name: What was checked.
        outcome: `ok`, `failed` or `unknown`.
        detail: What was found.
        hint: What would work, where it failed.
        field: Field of the request that it is about.
        code: Code of the refusal, where it failed.
    """

    name: str
    outcome: str
    detail: str
    hint: str | None = None
    field: str
    code: str | None = None


class Memory(Answer):
    """GPU memory that a request needs, in GiB: with all of the model in it, and with one part at a time."""

    whole_gib: float
    by_parts_gib: float


class Disk(Answer):
    """Container disk of a worker that downloads the model, in GB."""

    needed_gb: float
    available_gb: float


class Gpu(Answer):
    """A GPU type of a pool, with its memory in GB and its price in US dollars."""

    gpu_type: str
    memory_gb: float
    usd_per_hour: float | None


class GpuPool(Answer):
    """A GPU pool, and how the model finds room on its smallest GPU."""

    gpu_pool: str
    fit: str | None
    memory_gb: float | None
    usd_per_hour: float | None
    stock: str | None
    gpus: tuple[Gpu, ...]


class Cost(Answer):
    """What one job may cost, in US dollars; None while prices are not known.

    Args:
        usd_per_hour: A worker on the dearest GPU that it may get.
        max_job_usd: The longest run on that GPU, and the idle time after it.
        ceiling_usd: What it may cost here; None without a ceiling.
    """

    usd_per_hour: float | None
    max_job_usd: float | None
    ceiling_usd: float | None


class Preflight(Answer):
    """Whether a model could do something here, and why (`POST /v1/preflight`).

    Args:
        ok: Nothing speaks against it.
        model: Hub id.
        task: What is asked of it.
        endpoint_id: Endpoint of the caller that would serve it.
        commit: Commit of the hub that was looked at.
        pipeline: Class of its pipeline.
        family: Its family.
        tasks: What the model can do.
        gated: Its terms have to be accepted on the hub.
        download_gb: What a worker has to fetch.
        memory: GPU memory that it needs.
        disk: Disk that it needs; None where a volume holds the model.
        gpu_pools: Where it fits.
        cost: What a job may cost.
        placement: Where a worker would start first.
        checks: What was checked, in order.
    """

    ok: bool
    model: str
    task: str
    endpoint_id: str | None
    commit: str | None
    pipeline: str | None
    family: str | None
    tasks: tuple[str, ...]
    gated: bool | None
    download_gb: float | None
    memory: Memory | None
    disk: Disk | None
    gpu_pools: tuple[GpuPool, ...]
    cost: Cost
    placement: Placement | None
    checks: tuple[Check, ...]
