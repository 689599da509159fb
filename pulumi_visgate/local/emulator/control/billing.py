"""`/v2/billing`: what the meter has counted, in buckets of time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer
from pulumi_visgate.local.emulator.clock import rfc3339
from pulumi_visgate.local.emulator.errors import bad_request
from pulumi_visgate.local.emulator.store import Doc
from pulumi_visgate.local.emulator.usage import Component, Span
from pulumi_visgate.runpod.models.billing import (
    BillingBucketSize,
    BillingFilter,
    ClusterBillingFilter,
    NetworkVolumeBillingFilter,
    PodBillingFilter,
    ServerlessBillingFilter,
)

_DEFAULT_PERIOD = timedelta(days=30)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_ACCOUNT = (
    "podGpuAmount",
    "podCpuAmount",
    "podDiskAmount",
    *("serverlessGpuAmount", "serverlessCpuAmount", "serverlessDiskAmount", "serverlessFeeAmount"),
    *("storageStandardAmount", "storageHighPerformanceAmount"),
    "endpointAmount",
    *("clusterGpuAmount", "clusterDiskAmount", "clusterNetworkingAmount"),
)
_SERVERLESS = {"gpuAmount": Component.GPU, "cpuAmount": Component.CPU, "diskAmount": None, "feeAmount": None}
_VOLUME = {"standardAmount": Component.STANDARD, "highPerformanceAmount": Component.HIGH_PERFORMANCE}


@dataclass(frozen=True, slots=True)
class Window:
    """The period of a query, on the borders of its buckets.

    Args:
        start: Inclusive.
        end: Exclusive.
        size: Length of a bucket.
    """

    start: datetime
    end: datetime
    size: BillingBucketSize

    def echo(self) -> Doc:
        """Return it as the answer repeats it."""
        return {**_range(self.start, self.end), "bucketSize": self.size.value}

    def buckets(self, spans: Iterable[Span]) -> Iterator[tuple[datetime, datetime, list[Span]]]:
        """Yield each bucket in which something was metered."""
        listed = list(spans)
        if not listed:
            return
        start = max(self.start, _floor(_moment(min(span.started for span in listed)), self.size))
        last = min(self.end, _moment(max(span.ended for span in listed)))
        while start < last:
            end = _next(start, self.size)
            inside = [s for s in listed if s.started < end.timestamp() and s.ended > start.timestamp()]
            if inside:
                yield start, end, inside
            start = end


async def list_billing(call: Call) -> Response:
    """`listBilling`."""
    window = _window(call, call.filter(BillingFilter))
    records = []
    for start, end, spans in window.buckets(_spans(call, window)):
        amounts = dict.fromkeys(_ACCOUNT, 0.0)
        for span in spans:
            amounts[span.component.value] += span.amount(start.timestamp(), end.timestamp())
        records.append({**_range(start, end), **_with_total(amounts)})
    return _report(window, records, _ACCOUNT, {}, {})


async def list_serverless_billing(call: Call) -> Response:
    """`listServerlessBilling`."""
    wanted = call.filter(ServerlessBillingFilter)
    window = _window(call, wanted)
    records = _by_resource(call, window, _SERVERLESS, "serverlessId", wanted.serverless_id)
    unique = {"uniqueServerlessCount": len({record["serverlessId"] for record in records})}
    return _report(window, records, _SERVERLESS, {"serverlessId": wanted.serverless_id}, unique)


async def list_network_volume_billing(call: Call) -> Response:
    """`listNetworkVolumeBilling`."""
    wanted = call.filter(NetworkVolumeBillingFilter)
    window = _window(call, wanted)
    records = _by_resource(call, window, _VOLUME, "networkVolumeId", wanted.network_volume_id)
    unique = {"uniqueNetworkVolumeCount": len({record["networkVolumeId"] for record in records})}
    return _report(window, records, _VOLUME, {"networkVolumeId": wanted.network_volume_id}, unique)


async def list_endpoint_billing(call: Call) -> Response:
    """`listEndpointBilling`: Runpod's public endpoints, which are not emulated and cost nothing."""
    return _report(_window(call, call.filter(BillingFilter)), [], (), {}, {})


async def list_pod_billing(call: Call) -> Response:
    """`listPodBilling`: pods are not emulated and cost nothing."""
    wanted = call.filter(PodBillingFilter)
    amounts = ("gpuAmount", "cpuAmount", "diskAmount")
    return _report(_window(call, wanted), [], amounts, {"podId": wanted.pod_id}, {"uniquePodCount": 0})


async def list_cluster_billing(call: Call) -> Response:
    """`listClusterBilling`: clusters are not emulated and cost nothing."""
    wanted = call.filter(ClusterBillingFilter)
    amounts = ("gpuAmount", "diskAmount", "networkingAmount")
    return _report(_window(call, wanted), [], amounts, {"clusterId": wanted.cluster_id}, {"uniqueClusterCount": 0})


def _window(call: Call, wanted: BillingFilter) -> Window:
    size = wanted.bucket_size or BillingBucketSize.DAY
    now = _moment(call.emulator.clock.now())
    if wanted.last_n is not None:
        start = _floor(now, size)
        end = _next(start, size)
        for _ in range(wanted.last_n - 1):
            if start <= _EARLIEST:
                break
            start = _floor(start - timedelta(seconds=1), size)
        return Window(start, end, size)
    end = wanted.end_time or now
    start = wanted.start_time or end - _DEFAULT_PERIOD
    if not _EARLIEST <= start <= end <= _LATEST:
        detail = "startTime: must be before endTime, and both in this or the last century"
        raise bad_request(detail)
    floor = _floor(end.astimezone(UTC), size)
    return Window(_floor(start.astimezone(UTC), size), floor if floor == end else _next(floor, size), size)


def _spans(call: Call, window: Window) -> Iterator[Span]:
    return call.emulator.usage.spans(call.account, window.start.timestamp(), window.end.timestamp())


def _by_resource(
    call: Call, window: Window, names: dict[str, Component] | dict[str, Component | None], key: str, only: str | None
) -> list[Doc]:
    components = {component: name for name, component in names.items() if component is not None}
    spans = [s for s in _spans(call, window) if s.component in components and only in {None, s.resource}]
    records = []
    for start, end, inside in window.buckets(spans):
        amounts: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(names, 0.0))
        for span in inside:
            amounts[span.resource][components[span.component]] += span.amount(start.timestamp(), end.timestamp())
        records += [{**_range(start, end), key: resource, **_with_total(a)} for resource, a in amounts.items()]
    return records


def _report(window: Window, records: list[Doc], names: Iterable[str], echo: Doc, unique: Doc) -> Response:
    totals = {name: sum(record[name] for record in records) for name in ("totalAmount", *names)}
    metadata = {"query": {**window.echo(), **echo}, "recordCount": len(records), "totals": totals, **unique}
    return answer({"records": records, "metadata": metadata})


def _with_total(amounts: dict[str, float]) -> dict[str, float]:
    return {"totalAmount": sum(amounts.values()), **amounts}


def _range(start: datetime, end: datetime) -> Doc:
    return {"startTime": rfc3339(start.timestamp()), "endTime": rfc3339(end.timestamp())}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _floor(moment: datetime, size: BillingBucketSize) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return {
        BillingBucketSize.HOUR: hour,
        BillingBucketSize.DAY: day,
        BillingBucketSize.WEEK: day - timedelta(days=day.weekday()),
        BillingBucketSize.MONTH: day.replace(day=1),
        BillingBucketSize.YEAR: day.replace(day=1, month=1),
    }[size]


def _next(start: datetime, size: BillingBucketSize) -> datetime:
    if size is BillingBucketSize.MONTH:
        return (start + timedelta(days=32)).replace(day=1)
    if size is BillingBucketSize.YEAR:
        return start.replace(year=start.year + 1)
    days = {BillingBucketSize.HOUR: timedelta(hours=1), BillingBucketSize.DAY: timedelta(days=1)}
    return start + days.get(size, timedelta(weeks=1))
