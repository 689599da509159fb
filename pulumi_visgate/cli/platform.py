"""`visgate models`, `preflight`, `placements`, `deploy` and `deployments`: what there is, what would run, and where."""

from typing import Annotated, Any

import typer
from rich.text import Text

from pulumi_visgate.cli.console import err, out, table, usd
from pulumi_visgate.cli.options import (
    AsJson,
    GatewayUrl,
    GpuPool,
    HfToken,
    Inputs,
    MaxCost,
    ModelName,
    Region,
    TaskName,
    connect,
    fields,
    known_models,
    said,
)
from pulumi_visgate.client import Placement, Preflight
from visgate_contract.tasks import Task

EXIT_NOT_OK = 1
_MARKS = {"ok": ("✓", "bold green"), "failed": ("✗", "bold red"), "unknown": ("?", "bold yellow")}


def models(*, as_json: AsJson = False, gateway: GatewayUrl = None) -> None:
    """List the models that the platform offers, and how the pool of each is kept."""
    with connect(gateway) as client:
        found = client.models()
    if as_json:
        out().print_json(data=[offered.model_dump(mode="json") for offered in found])
        return
    if not found:
        err().print("The platform offers no models of its own; endpoints of your account serve all the same.")
        return
    shown = table("model", "tasks", "policy", "revision")
    for offered in found:
        shown.add_row(offered.model, ", ".join(offered.tasks) or "all it can", offered.policy, offered.revision or "")
    out().print(shown)


def deploy(
    model: ModelName,
    *,
    task: TaskName = Task.TEXT2IMG,
    warm_for: Annotated[
        int | None, typer.Option(help="Start a worker now, and let it stay for so many seconds.", min=1)
    ] = None,
    region: Region = None,
    gpu_pool: GpuPool = None,
    max_cost: MaxCost = None,
    hf_token: HfToken = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
) -> None:
    """Have an endpoint ready in your account, made if there is none. It costs nothing until a worker starts."""
    options: Any = said(region=region, gpu_pool=gpu_pool, max_cost_usd=max_cost)
    with connect(gateway, hf_token=hf_token) as client:
        found = client.deploy(model, task=task, warm_for_s=warm_for, **options)
    if as_json:
        out().print_json(data=found.model_dump(mode="json", exclude_none=True))
        return
    expected = f", about {found.expected.start_s:.0f} s until a worker is there" if found.expected else ""
    err().print(f"{found.status}{expected}")
    if found.job_id:
        err().print(f"warming up: visgate jobs show {found.job_id}", style="dim")
    out().print(found.endpoint_id)


def deployments(*, as_json: AsJson = False, gateway: GatewayUrl = None) -> None:
    """List your endpoints; `visgate cleanup` deletes them."""
    with connect(gateway) as client:
        found = client.deployments()
    if as_json:
        out().print_json(data=[one.model_dump(mode="json") for one in found])
        return
    if not found:
        err().print("There is no endpoint of this key; `visgate deploy` makes one.")
        return
    shown = table("endpoint", "model", "task", "policy", "workers", "where", "managed by")
    for one in found:
        where = ", ".join(one.data_center_ids) or "anywhere"
        workers = f"{one.workers_min}-{one.workers_max}"
        shown.add_row(one.endpoint_id, one.model, one.task, one.policy, workers, where, one.managed_by)
    out().print(shown)


def preflight(
    model: ModelName,
    *,
    task: TaskName = Task.TEXT2IMG,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    inputs: Inputs = None,
    region: Region = None,
    gpu_pool: GpuPool = None,
    max_cost: MaxCost = None,
    hf_token: HfToken = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
) -> None:
    """Find out whether a model can run here, where, and at what price, before anything is made.

    Exit status 1 if something speaks against it.
    """
    wished = said(width=width, height=height) | fields(inputs)
    options: Any = said(region=region, gpu_pool=gpu_pool, max_cost_usd=max_cost)
    with connect(gateway, hf_token=hf_token) as client:
        found = client.preflight(model, {"prompt": "-", **wished} if wished else None, task=task, **options)
    if as_json:
        out().print_json(data=found.model_dump(mode="json", exclude_none=True))
    else:
        _print_preflight(found)
    if not found.ok:
        raise typer.Exit(EXIT_NOT_OK)


def placements(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Hub id; any model if left out.", autocompletion=known_models),
    ] = None,
    *,
    task: TaskName = Task.TEXT2IMG,
    region: Region = None,
    gpu_pool: GpuPool = None,
    why: Annotated[bool, typer.Option("--why", help="Show what each score is made of.")] = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
) -> None:
    """List where workers would run, the best place first, with stock and price."""
    options: Any = said(region=region, gpu_pool=gpu_pool)
    with connect(gateway) as client:
        found = client.placements(model, task=task, **options)
    if as_json:
        out().print_json(data=found.model_dump(mode="json"))
        return
    shown = table("data center", "GPU pool", "stock", "fit", "$ an hour", "km", "cache", "score", *["why"] * why)
    for place in found.placements:
        reasons = [", ".join(f"{reason.term} {reason.points:+g}" for reason in place.reasons)] * why
        shown.add_row(*_cells(place), *reasons, style=None if place.possible else "dim")
    out().print(shown)


def _cells(place: Placement) -> tuple[str, ...]:
    return (
        place.data_center_id or "any",
        place.gpu_pool,
        (place.stock or "?").lower(),
        (place.fit or "?").replace("_", " "),
        usd(place.usd_per_hour),
        "" if place.distance_km is None else f"{place.distance_km:.0f}",
        place.network_volume_id or "",
        f"{place.score:g}",
    )


def _print_preflight(found: Preflight) -> None:
    console = out()
    for check in found.checks:
        mark, style = _MARKS.get(check.outcome, _MARKS["unknown"])
        console.print(Text(f"{mark} ", style=style) + Text(f"{check.name:<8}{check.detail}"))
        if check.hint:
            console.print(Text("  → ", style="bold") + Text(check.hint))
    facts = [found.pipeline, None if found.download_gb is None else f"{found.download_gb:g} GB to download"]
    if found.memory is not None:
        facts.append(f"{found.memory.whole_gib:g} GiB of GPU memory")
    if found.cost.max_job_usd is not None:
        facts.append(f"a job costs at most {usd(found.cost.max_job_usd)} $")
    if found.placement is not None:
        facts.append(f"first place: {found.placement.data_center_id or 'any'} on {found.placement.gpu_pool}")
    if found.endpoint_id is not None:
        facts.append(f"endpoint {found.endpoint_id} serves it already")
    console.print(Text("  " + "; ".join(fact for fact in facts if fact), style="dim"))
