"""Controls of the emulator itself, for loopback peers only and without a key: faults, delay, time, accounts, images."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer, created, no_content
from pulumi_visgate.local.emulator.catalog import Level
from pulumi_visgate.local.emulator.control import endpoints, volumes
from pulumi_visgate.local.emulator.errors import forbidden, not_found
from pulumi_visgate.local.emulator.faults import Fault
from pulumi_visgate.local.emulator.quirks import Quirks
from pulumi_visgate.local.emulator.scaling import INACTIVITY
from pulumi_visgate.local.emulator.store import Doc, Kind

_OPEN_JOBS = "SELECT count(*) AS n FROM job WHERE account = ? AND status IN ('IN_QUEUE', 'IN_PROGRESS')"
_DAY_S = 86_400.0


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LatencyForm(_Form):
    """Delay of every control and job plane answer in milliseconds."""

    ms: Annotated[float, Field(ge=0, le=600_000)]


class QuotaForm(_Form):
    """Requests of one account in a minute and an hour."""

    per_minute: Annotated[int, Field(ge=1)]
    per_hour: Annotated[int, Field(ge=1)]


class ClockForm(_Form):
    """How far to move the clock forward, in seconds."""

    advance_s: Annotated[float, Field(gt=0, le=366 * _DAY_S)]


class ImageForm(_Form):
    """The command that stands for an image reference or repository."""

    image: Annotated[str, Field(min_length=1)]
    command: Annotated[str, Field(min_length=1)]


class InactivityForm(_Form):
    """For how many days an endpoint shall appear unused."""

    endpoint: str
    days: Literal[3, 7]


class TemplatesForm(_Form):
    """Whether a template named at creation is bound to the endpoint and goes with it."""

    bind: bool


class StockForm(_Form):
    """How much there is of a GPU type, serverless pool or CPU flavour, in one data center or in all that have it."""

    name: Annotated[str, Field(min_length=1)]
    level: Level
    data_center: str | None = None


def require_loopback(request: Request) -> None:
    """Check that the peer is on this machine and no web page is behind it.

    Raises:
        Problem: 403.
    """
    host = request.client.host if request.client is not None else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local or "origin" in request.headers:
        detail = "admin routes answer programs on this machine only"
        raise forbidden(detail)


async def show_health(call: Call) -> Response:
    """Tell that it works and how much runs."""
    workers = [
        {"id": w.id, "endpoint": w.endpoint, "state": w.state.value, "pid": w.process.pid if w.process else None}
        for w in call.emulator.fleet.all()
    ]
    return answer({"status": "ok", "workers": workers, "latency_ms": call.emulator.traffic.latency_ms})


async def set_latency(call: Call) -> Response:
    """Set the delay of answers."""
    call.emulator.traffic.latency_ms = (await call.body(LatencyForm)).ms
    return no_content()


async def set_quota(call: Call) -> Response:
    """Set the quotas and forget what was spent."""
    form = await call.body(QuotaForm)
    call.emulator.quota.change(per_minute=form.per_minute, per_hour=form.per_hour)
    return no_content()


async def set_templates(call: Call) -> Response:
    """Choose how templates relate to endpoints made from now on."""
    call.emulator.bind_templates = (await call.body(TemplatesForm)).bind
    return no_content()


async def set_quirks(call: Call) -> Response:
    """Choose what the answers have that a client may not expect; what is left out is off."""
    call.emulator.quirks = await call.body(Quirks)
    return no_content()


async def set_stock(call: Call) -> Response:
    """Set how much there is of something; workers that wait for a machine look again."""
    form = await call.body(StockForm)
    if unknown := call.emulator.stock.set(form.name, form.data_center, form.level):
        noun = "GPU type, pool, CPU flavour or data center"
        raise not_found(noun, unknown)
    call.emulator.scheduler.touch_all()
    return no_content()


async def reset_stock(call: Call) -> Response:
    """Go back to the catalog's own stock."""
    call.emulator.stock.reset()
    call.emulator.scheduler.touch_all()
    return no_content()


async def list_faults(call: Call) -> Response:
    """Show the faults in force."""
    return answer({"faults": [fault.model_dump(mode="json") for fault in call.emulator.faults.rules()]})


async def add_fault(call: Call) -> Response:
    """Put a fault in force."""
    fault = await call.body(Fault)
    call.emulator.faults.add(fault)
    call.emulator.scheduler.touch_all()
    return created(fault.model_dump(mode="json"))


async def clear_faults(call: Call) -> Response:
    """Take every fault out of force."""
    call.emulator.faults.clear()
    call.emulator.scheduler.touch_all()
    return no_content()


async def remove_fault(call: Call) -> Response:
    """Take one fault out of force."""
    if not call.emulator.faults.remove(call.param("fault")):
        noun = "fault"
        raise not_found(noun, call.param("fault"))
    call.emulator.scheduler.touch_all()
    return no_content()


async def count_requests(call: Call) -> Response:
    """Show requests by operation, of one account or of all."""
    return answer({"requests": call.emulator.traffic.counts(call.query().get("account"))})


async def reset_requests(call: Call) -> Response:
    """Start to count requests again."""
    call.emulator.traffic.reset(call.query().get("account"))
    return no_content()


async def list_accounts(call: Call) -> Response:
    """Show what every account has left."""
    return answer({"accounts": [_account(call, account) for account in call.emulator.identity.accounts()]})


async def wipe_account(call: Call) -> Response:
    """Delete everything an account has, kill its workers and wait until they are gone."""
    await _wipe(call, call.param("account"))
    return no_content()


async def reset(call: Call) -> Response:
    """Put everything back to how it was started, without accounts; only time does not go back."""
    emulator = call.emulator
    emulator.faults.clear()
    for account in emulator.identity.accounts():
        await _wipe(call, account)
    emulator.traffic.reset()
    emulator.traffic.latency_ms = emulator.settings.latency_ms
    emulator.quota.change(per_minute=emulator.settings.quota_per_minute, per_hour=emulator.settings.quota_per_hour)
    emulator.images.reset()
    emulator.bind_templates = emulator.settings.bind_templates
    emulator.quirks = Quirks()
    emulator.stock.reset()
    return no_content()


async def advance_clock(call: Call) -> Response:
    """Move the clock forward."""
    call.emulator.advance((await call.body(ClockForm)).advance_s)
    return answer({"now": call.emulator.clock.now(), "offset_s": call.emulator.clock.offset_s})


async def make_inactive(call: Call) -> Response:
    """Let an endpoint appear unused for days, so that its maximum is lowered as Runpod would."""
    form = await call.body(InactivityForm)
    if call.emulator.store.get(Kind.ENDPOINT, form.endpoint) is None:
        raise not_found(Kind.ENDPOINT.value, form.endpoint)
    call.emulator.store.remember(f"activity {form.endpoint}", call.emulator.clock.now() - form.days * _DAY_S)
    call.emulator.scheduler.touch(form.endpoint)
    return answer({"maximum": dict((int(after / _DAY_S), most) for after, most in INACTIVITY)[form.days]})


async def list_images(call: Call) -> Response:
    """Show which commands stand for which images."""
    return answer({"images": call.emulator.images.all()})


async def map_image(call: Call) -> Response:
    """Let a command stand for an image."""
    form = await call.body(ImageForm)
    call.emulator.images.map(form.image, form.command)
    call.emulator.scheduler.touch_all()
    return no_content()


async def unmap_image(call: Call) -> Response:
    """Take a mapping away."""
    image = call.query().get("image", "")
    if not call.emulator.images.unmap(image):
        noun = "image"
        raise not_found(noun, image)
    return no_content()


async def _wipe(call: Call, account: str) -> None:
    emulator = call.emulator
    workers = [worker for worker in emulator.fleet.all() if worker.account == account]
    for record in emulator.store.list(Kind.ENDPOINT, account):
        endpoints.remove(emulator, record, at_once=True)
    for record in emulator.store.list(Kind.VOLUME, account):
        volumes.remove(call, record)
    for kind in (Kind.TEMPLATE, Kind.REGISTRY, Kind.DELEGATION):
        for record in emulator.store.list(kind, account):
            emulator.store.remove(record)
    await emulator.fleet.kill(workers)
    emulator.usage.forget(account)
    emulator.traffic.reset(account)
    emulator.identity.forget(account)


def _account(call: Call, account: str) -> Doc:
    store = call.emulator.store
    counts: Doc = {
        "endpoints": len(store.list(Kind.ENDPOINT, account)),
        "templates": len(store.list(Kind.TEMPLATE, account)),
        "networkVolumes": len(store.list(Kind.VOLUME, account)),
        "registries": len(store.list(Kind.REGISTRY, account)),
        "delegations": len(store.list(Kind.DELEGATION, account)),
        "workers": sum(worker.account == account for worker in call.emulator.fleet.all()),
    }
    row = store.row(_OPEN_JOBS, account)
    counts["jobs"] = row["n"] if row is not None else 0
    return {"id": account, **counts, "empty": not any(counts.values())}


ADMIN: tuple[tuple[str, str, Callable[[Call], Awaitable[Response]]], ...] = (
    ("GET", "/admin/health", show_health),
    ("PUT", "/admin/latency", set_latency),
    ("PUT", "/admin/quota", set_quota),
    ("PUT", "/admin/templates", set_templates),
    ("PUT", "/admin/quirks", set_quirks),
    ("PUT", "/admin/stock", set_stock),
    ("DELETE", "/admin/stock", reset_stock),
    ("GET", "/admin/faults", list_faults),
    ("POST", "/admin/faults", add_fault),
    ("DELETE", "/admin/faults", clear_faults),
    ("DELETE", "/admin/faults/{fault}", remove_fault),
    ("GET", "/admin/requests", count_requests),
    ("DELETE", "/admin/requests", reset_requests),
    ("GET", "/admin/accounts", list_accounts),
    ("DELETE", "/admin/accounts/{account}", wipe_account),
    ("POST", "/admin/reset", reset),
    ("POST", "/admin/clock", advance_clock),
    ("POST", "/admin/inactivity", make_inactive),
    ("GET", "/admin/images", list_images),
    ("PUT", "/admin/images", map_image),
    ("DELETE", "/admin/images", unmap_image),
)
