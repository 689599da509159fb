"""What the process holds between requests: connections, caches that may be lost at any time, and settings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec

import httpx
from fastapi import Request
from starlette.types import Scope

from pulumi_visgate.gateway import egress
from pulumi_visgate.gateway.event_stream import OpenStreams
from pulumi_visgate.gateway.metrics import Metrics
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services import hub
from pulumi_visgate.gateway.services.announce import Courier
from pulumi_visgate.gateway.services.budget import Budget
from pulumi_visgate.gateway.services.callbacks import Callbacks
from pulumi_visgate.gateway.services.claims import Claims
from pulumi_visgate.gateway.services.directory import Directory
from pulumi_visgate.gateway.services.follow import Follower
from pulumi_visgate.gateway.services.history import History
from pulumi_visgate.gateway.services.hub import HubReader
from pulumi_visgate.gateway.services.jobs import Jobs
from pulumi_visgate.gateway.services.keys import Keys
from pulumi_visgate.gateway.services.ledgers import Ledgers
from pulumi_visgate.gateway.services.limiter import Limiter, new_valkey
from pulumi_visgate.gateway.services.links import Links
from pulumi_visgate.gateway.services.log_feed import Feeds
from pulumi_visgate.gateway.services.market import Market
from pulumi_visgate.gateway.services.observe import Observer
from pulumi_visgate.gateway.services.pictures_in import PicturesIn
from pulumi_visgate.gateway.services.planning import Planner
from pulumi_visgate.gateway.services.provision import Provisioner
from pulumi_visgate.gateway.services.redelivery import Redelivery
from pulumi_visgate.gateway.services.store import ArtifactStore
from pulumi_visgate.gateway.services.submit import Submitter
from pulumi_visgate.gateway.services.uploads import Uploads
from pulumi_visgate.gateway.services.waiting import Diagnosis
from pulumi_visgate.gateway.services.webhooks import Webhooks
from pulumi_visgate.gateway.settings import Settings, is_inside
from pulumi_visgate.runpod import AsyncRunpodClient, RetryPolicy, Transport
from visgate_contract.errors import ErrorCode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from pulumi_visgate.gateway.tracing import Tracing

P = ParamSpec("P")

_FOUND = "visgate_state"
_NO_KEY = "no-key-yet"
# An answer is waited for, so fewer and shorter repeats than the client's own.
_RETRY = RetryPolicy(attempts=3, base_s=0.2, cap_s=1.0, attempt_s=4.0)


@dataclass(frozen=True, slots=True)
class Clients:
    """Ways out of the process, replaceable for tests.

    Args:
        runpod: Transport of all Runpod calls; the network when None.
        webhooks: Client for deliveries; a safe one when None.
        resolver: Resolves receivers' names.
        spans: Where spans go, where tracing is configured; to the collector that the environment names when None.
        hub: Client for the model hub; one of its own when None.
        store: Client for the bucket; a plain one when None.
    """

    runpod: Transport | None = None
    webhooks: httpx.AsyncClient | None = None
    resolver: egress.Resolver = egress.system_resolver
    spans: "SpanExporter | None" = None
    hub: httpx.AsyncClient | None = None
    store: httpx.AsyncClient | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything that routes need.

    Args:
        settings: The settings.
        keys: What signs in callers' names.
        base: Runpod client whose connections every caller's client shares.
        directory: What callers have.
        planner: Looks before anything is made.
        provisioner: Finds and makes endpoints.
        history: What recent jobs took.
        submitter: Accepts requests.
        webhooks: Sends events.
        ledgers: Delivery ledgers of jobs.
        redelivery: Sends events again.
        callbacks: Answers Runpod's own calls.
        jobs: Reads jobs.
        follower: Follows jobs.
        observer: Looks at endpoints.
        diagnosis: Tells why jobs wait.
        feeds: Reads worker logs.
        streams: Streams that are open.
        limiter: Counts requests.
        metrics: Counts everything else.
        pictures_in: Takes pictures that jobs begin from.
        tracing: Makes spans; None unless configured.
    """

    settings: Settings
    keys: Keys
    base: AsyncRunpodClient = field(repr=False)
    directory: Directory
    planner: Planner
    provisioner: Provisioner
    history: History
    submitter: Submitter
    webhooks: Webhooks
    ledgers: Ledgers
    redelivery: Redelivery
    callbacks: Callbacks
    jobs: Jobs
    follower: Follower
    observer: Observer
    diagnosis: Diagnosis
    feeds: Feeds
    streams: OpenStreams
    limiter: Limiter
    metrics: Metrics
    pictures_in: PicturesIn
    tracing: "Tracing | None" = None

    @staticmethod
    def of(request: Request) -> "State":
        """Return the state of the application that a request came to.

        Raises:
            Refused: It has not started, or is ending (503).
        """
        state = State.of_scope(request.scope)
        if state is None:
            raise Refused(503, "The gateway is not ready.", code=ErrorCode.INTERNAL, hint="Try again in a moment.")
        return state

    @staticmethod
    def of_scope(scope: Scope) -> "State | None":
        """Return the state of the application, or None if it has not started or is ending; found once a request."""
        if _FOUND not in scope:
            scope[_FOUND] = getattr(scope["app"].state, "visgate", None)
        state: State | None = scope[_FOUND]
        return state

    def runpod(self, api_key: str) -> AsyncRunpodClient:
        """Return a client with a caller's key; it lives as long as the request."""
        return self.base.with_key(api_key)


@asynccontextmanager
async def opened(settings: Settings, clients: Clients, streams: OpenStreams) -> AsyncIterator[State]:
    """Open connections and build the parts; close everything at the end.

    Args:
        settings: The settings.
        clients: Ways out of the process.
        streams: Where streams are noted.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics(model.model_id for model in settings.models)
        tracing = _tracing(settings, clients, stack)
        base = await stack.enter_async_context(
            AsyncRunpodClient(
                _NO_KEY,
                base_url=settings.runpod_api_url,
                jobs_url=settings.runpod_jobs_url,
                timeout_s=settings.runpod_timeout_s,
                transport=clients.runpod,
                retry=_RETRY,
                on_attempt=_both(metrics.runpod_called, tracing.runpod_called if tracing else None),
            )
        )
        webhooks = clients.webhooks
        if webhooks is None:
            webhooks = await stack.enter_async_context(egress.new_client())
        policy = egress.EgressPolicy(allow_loopback=settings.allow_loopback, ports=settings.webhook_ports)
        directory = Directory(ttl_s=settings.list_ttl_s)
        sent = _both(metrics.webhook_sent, tracing.webhook_sent if tracing else None)
        courier = Courier(webhooks, policy, clients.resolver, sent)
        history = History()
        job_seen = _both(metrics.job_seen, history.job_seen)
        keys = Keys(settings)
        sender = Webhooks(keys, courier)
        bucket = clients.store
        if bucket is None:
            bucket = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        store = await asyncio.to_thread(ArtifactStore, settings, bucket)
        ledgers, links = Ledgers(settings, keys, store), Links(settings, store)
        callbacks = Callbacks(settings, keys, sender, ledgers, seen=job_seen)
        reader = HubReader(
            settings.hf_endpoint, await _hub_client(settings, clients, stack), deadline_s=settings.hub_timeout_s
        )
        market = Market()
        planner = Planner(settings, hub=reader, market=market, budget=Budget(settings))
        provisioner = Provisioner(settings, directory, planner)
        submitter = Submitter(
            settings,
            directory=directory,
            provisioner=provisioner,
            uploads=Uploads(settings, store, links),
            courier=courier,
            callbacks=callbacks,
            ledgers=ledgers,
            claims=Claims(store, request_s=settings.deadline_s),
            history=history,
            accepted=lambda kind, it: metrics.accepted(kind, model_id=it.model_id, warmth=it.warmth),
        )
        observer = Observer()
        yield State(
            settings,
            keys,
            base,
            directory,
            planner,
            provisioner,
            history,
            submitter,
            sender,
            ledgers,
            Redelivery(ledgers, sender, deadline_s=settings.deadline_s),
            callbacks,
            Jobs(ledgers, links, seen=job_seen),
            Follower(seen=job_seen),
            observer,
            Diagnosis(observer, directory, history, market),
            Feeds(),
            streams,
            _limiter(settings, metrics, stack),
            metrics,
            PicturesIn(settings, store),
            tracing,
        )


def _both(one: Callable[P, None], other: Callable[P, None] | None) -> Callable[P, None]:
    """Return what calls both; the first alone where there is no other."""
    if other is None:
        return one

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        one(*args, **kwargs)
        other(*args, **kwargs)

    return call


def _tracing(settings: Settings, clients: Clients, stack: AsyncExitStack) -> "Tracing | None":
    if not settings.tracing:
        return None
    from pulumi_visgate.gateway.tracing import Tracing  # noqa: PLC0415 - needs the extra `tracing`

    tracing = Tracing(clients.spans)
    stack.push_async_callback(asyncio.to_thread, tracing.close)
    return tracing


def _limiter(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> Limiter:
    valkey = None if settings.valkey_url is None else new_valkey(settings.valkey_url)
    if valkey is not None:
        stack.push_async_callback(valkey.aclose)
    return Limiter(
        per_user=settings.rate_per_user,
        per_ip=settings.rate_per_ip,
        secret=settings.signing_key,
        metrics=metrics,
        valkey=valkey,
    )


async def _hub_client(settings: Settings, clients: Clients, stack: AsyncExitStack) -> httpx.AsyncClient:
    """Return the given client for the hub, or one that ends with the process; its TLS context takes a moment."""
    if clients.hub is not None:
        return clients.hub
    trust_env = not is_inside(settings.hf_endpoint)
    made = await asyncio.to_thread(
        hub.new_client, settings.hf_endpoint, timeout_s=settings.hub_timeout_s, trust_env=trust_env
    )
    return await stack.enter_async_context(made)
