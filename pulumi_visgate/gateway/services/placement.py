"""What a request asks for, and what a new endpoint for it looks like: from the settings, the request and a place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.services.directory import GENERATION_ENV
from pulumi_visgate.gateway.services.keys import UserKeys
from pulumi_visgate.gateway.services.spots import Attempt
from pulumi_visgate.gateway.services.warm_match import Wish
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from pulumi_visgate.hub import HF_ENDPOINT
from pulumi_visgate.runpod.models.endpoint import (
    CreateEndpoint,
    CreateEndpointGpu,
    EndpointType,
    EndpointWorkers,
    FlashBoot,
    QueueDelayScaling,
)
from visgate_contract.errors import ErrorCode
from visgate_contract.jobs import MODEL_ID_ENV, MODEL_REVISION_ENV, WEBHOOK_KEY_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.names import EndpointName, spec_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

QUEUE_DELAY_S = 1.0
_DATA_CENTER = re.compile(r"[A-Z]{2,3}-[A-Z]{2,3}-[0-9]{1,2}")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says about model and place, already of the right types.

    Args:
        model_id: Hub id.
        task: Task.
        region: Data center such as `EU-RO-1`, or the beginning of several, such as `EU`.
        gpu_pool: One of the GPU pools on offer.
        must_sign: Webhooks are wanted.
        max_cost_usd: Most that a job, or the time without one, may cost, in US dollars.
        warm_for_s: No job, but a worker that stays for so long, in seconds.
        run_s: Longest run of the job, in seconds; the platform's when left out.
        endpoint_id: The only endpoint that will do.
    """

    model_id: str
    task: Task
    region: str | None = None
    gpu_pool: str | None = None
    must_sign: bool = False
    max_cost_usd: float | None = None
    warm_for_s: int | None = None
    run_s: int | None = None
    endpoint_id: str | None = None


def wish(asked: Asked, *, user_hash: str, settings: Settings) -> Wish:
    """Turn a request into what an endpoint has to be.

    Raises:
        InvalidField: The region or the GPU pool is not on offer.
    """
    model = settings.offered(asked.model_id)
    return Wish(
        user_hash=user_hash,
        model_id=asked.model_id,
        task=asked.task,
        generation=generation(asked.model_id, model, settings),
        data_center_ids=_data_centers(asked.region, settings.data_center_ids),
        pools=_pools(asked.gpu_pool, offered_pools(model, settings)),
        must_sign=asked.must_sign,
    )


def offered_pools(model: OfferedModel | None, settings: Settings) -> tuple[str, ...]:
    """Return the GPU pools that a model may run on here."""
    return (model.gpu_pools if model else ()) or settings.gpu_pools


def _data_centers(region: str | None, offered: tuple[str, ...]) -> tuple[str, ...]:
    if region is None:
        return ()
    asked = region.strip().upper()
    if not offered:
        if _DATA_CENTER.fullmatch(asked):
            return (asked,)
        raise InvalidField(
            field="region", detail="is not the id of a Runpod data center.", hint="Ids look like EU-RO-1."
        )
    found = tuple(name for name in offered if name == asked or name.startswith(f"{asked}-"))
    if not found:
        hint = f"Leave it out, or choose one of {', '.join(offered)}, or the beginning of one."
        raise InvalidField(field="region", detail="is not one this platform runs in.", hint=hint)
    return found


def _pools(asked: str | None, offered: tuple[str, ...]) -> tuple[str, ...]:
    if asked is None:
        return ()
    if asked.upper() not in offered:
        hint = f"Leave it out, or choose one of {', '.join(offered)}."
        raise InvalidField(field="gpu_pool", detail="is not on offer for this model.", hint=hint)
    return (asked.upper(),)


def generation(model_id: str, model: OfferedModel | None, settings: Settings) -> str:
    """Return what changes whenever new endpoints for a model would be made differently, wherever they run."""
    return _hashed(
        ("image", settings.image),
        ("model", model_id),
        ("revision", model.revision if model else None),
        ("volumes", tuple(sorted(model.network_volume_ids)) if model else ()),
        ("disk", settings.container_disk_gb),
        ("workers_max", settings.workers_max),
        ("idle_timeout_s", settings.idle_timeout_s),
        ("watchdog", (settings.watchdog_action, settings.watchdog_idle_s, settings.watchdog_max_failures)),
        ("timeout_s", settings.job_timeout_s),
    )


@lru_cache(maxsize=4096)  # asked for with every request
def _hashed(*spec: tuple[str, object]) -> str:
    return spec_hash(dict(spec))


def offer(asked: Asked, settings: Settings) -> OfferedModel:
    """Return the offer that a new endpoint is made from.

    Raises:
        Refused: The model is not offered here.
        InvalidField: It is, but not for this task, or its id is no Hub id.
    """
    if not _HUB_ID.fullmatch(asked.model_id):
        raise InvalidField(
            field="model", detail="is not the id of a model.", hint="Ids look like stabilityai/sdxl-turbo."
        )
    model = settings.offered(asked.model_id)
    if model is None:
        if settings.allow_unlisted_models:
            return OfferedModel(model_id=asked.model_id, tasks=tuple(Task))
        raise Refused(
            404,
            "model: this platform does not offer this model, and no endpoint of yours serves it.",
            code=ErrorCode.MODEL_NOT_FOUND,
            hint="GET /v1/models lists what it offers.",
        )
    if asked.task not in model.tasks:
        hint = f"{model.model_id} does {', '.join(model.tasks)}."
        detail = f"{asked.task} is not a task of this model."
        raise InvalidField(field="task", detail=detail, hint=hint, code=ErrorCode.TASK_NOT_SUPPORTED)
    return model


def new_endpoint(
    wished: Wish,
    model: OfferedModel,
    attempt: Attempt,
    *,
    settings: Settings,
    keys: UserKeys,
    hf_token: str | None = None,
    commit: str | None = None,
) -> CreateEndpoint:
    """Return the body of `createEndpoint` for a request that nothing serves yet.

    The name tells what was wished for and not which place was found for it: two gateways that see other stock make
    twins, which they recognise.

    Args:
        wished: What is asked for.
        model: What the endpoint is made from.
        attempt: Where it may run.
        settings: The platform's.
        keys: The caller's, which its workers sign with.
        hf_token: The caller's; it goes into the environment only when the model has to come from the hub.
        commit: Commit of the hub that was looked at, for a model that comes from there.
    """
    spec = {
        "generation": wished.generation,
        "data_centers": sorted(wished.data_center_ids),
        "pools": sorted(wished.pools),
    }
    name = EndpointName.build(
        user_hash=wished.user_hash,
        model_id=wished.model_id,
        task=wished.task,
        policy=PoolPolicy.ON_DEMAND,
        spec=spec,
    )
    env = _environment(wished, model, settings)
    env[WEBHOOK_SECRET_ENV], env[WEBHOOK_KEY_ENV] = keys.secrets[0], keys.webhook_key
    if not attempt.volume_ids:
        env |= _download(model, settings, hf_token, commit)
    return CreateEndpoint(
        name=str(name),
        type=EndpointType.QUEUE,
        image=settings.image,
        env=env,
        disk=settings.container_disk_gb,
        gpu=CreateEndpointGpu(pools=list(attempt.pools)),
        scaling=QueueDelayScaling(queue_delay=QUEUE_DELAY_S),
        workers=EndpointWorkers(min=0, max=settings.workers_max, idle_timeout=settings.idle_timeout_s),
        data_center_ids=list(attempt.data_center_ids),
        network_volumes=list(attempt.volume_ids),
        timeout=settings.job_timeout_s * 1000,
        flashboot=FlashBoot.FLASHBOOT,
    )


def _download(model: OfferedModel, settings: Settings, hf_token: str | None, commit: str | None) -> dict[str, str]:
    """Return what a worker needs that has to bring the model from the hub: the very commit that was looked at."""
    given: Mapping[str, str | None] = {
        MODEL_REVISION_ENV: model.revision or commit,
        "HF_TOKEN": hf_token,
        "HF_ENDPOINT": None if settings.hf_endpoint == HF_ENDPOINT else settings.hf_endpoint,
    }
    return {name: value for name, value in given.items() if value}


def _environment(wished: Wish, model: OfferedModel, settings: Settings) -> dict[str, str]:
    given: Mapping[str, str | None] = {
        MODEL_ID_ENV: wished.model_id,
        MODEL_REVISION_ENV: model.revision,
        GENERATION_ENV: wished.generation,
        "VISGATE_IDLE_TIMEOUT_S": str(settings.watchdog_idle_s),
        "VISGATE_WATCHDOG_ACTION": settings.watchdog_action,
        "VISGATE_MAX_FAILURES": str(settings.watchdog_max_failures),
        "VISGATE_ALLOW_LOOPBACK": "true" if settings.allow_loopback else None,
    }
    return {name: value for name, value in given.items() if value is not None}
