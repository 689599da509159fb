"""What would be made for a request that nothing serves yet: looked at from all sides before anything is created.

Questions to others are few. The hub is asked for models that have to come from it; a model that lies on the platform's
volumes needs none. Runpod's catalog is asked where there is something to choose between near and far, or with and
without a cache, or a ceiling to reckon with, and its last answer serves for ten minutes. Volumes are where the platform
says; whether the caller's account has them shows when Runpod refuses one, and then they are listed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.services import geography, placement, preflight, spots
from pulumi_visgate.gateway.services.budget import FIELD, Budget, Cost
from pulumi_visgate.gateway.services.hub import HubReader
from pulumi_visgate.gateway.services.market import Market, Pool, Prices
from pulumi_visgate.gateway.services.placement import Asked
from pulumi_visgate.gateway.services.preflight import Check, CheckName, Outcome, PoolFit, Report, Subject
from pulumi_visgate.gateway.services.shared import Shared
from pulumi_visgate.gateway.services.spots import Attempt, Spot
from pulumi_visgate.gateway.services.warm_match import Wish
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from pulumi_visgate.hub.errors import HubError
from pulumi_visgate.hub.facts import ModelFacts
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import TaskInput

VOLUMES_S = 600.0

# Volume ids by data center.
Volumes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be made.

    Args:
        model: What it is made from.
        report: What was checked.
        spots: Every place, the best first.
        attempts: How to make it, the best way first.
        pools: GPU pools that it may run on.
        cost: What a job may cost.
        prices: The catalog that this was reckoned with.
        commit: Commit of the hub that was looked at.
        subject: What was checked.
    """

    model: OfferedModel
    report: Report
    spots: tuple[Spot, ...]
    attempts: tuple[Attempt, ...]
    pools: tuple[str, ...]
    cost: Cost
    prices: Prices
    commit: str | None = None
    subject: Subject | None = None


class Planner:
    """Looks before anything is created.

    Args:
        settings: What the platform offers and allows.
        hub: The model hub.
        market: Runpod's catalog.
        budget: The ceilings.
    """

    def __init__(self, settings: Settings, *, hub: HubReader, market: Market, budget: Budget) -> None:
        self._settings = settings
        self._hub = hub
        self._market = market
        self._budget = budget
        self._store = geography.of_store(settings.s3_region) if settings.s3_endpoint is None else None
        self._places = {volume.id: volume.data_center_id for volume in settings.network_volumes}
        self._owned: Shared[Mapping[str, str]] = Shared(kept_s=VOLUMES_S)

    async def plan(self, caller: Caller, asked: Asked, wish: Wish, params: TaskInput | None = None) -> Plan:
        """Return what to make for a request.

        Args:
            caller: Who asks.
            asked: Model and place.
            wish: What an endpoint has to be.
            params: Input of the task, if there is one.

        Raises:
            Refused: It cannot run here, or may cost too much; the answer says what would work.
            InvalidField: The platform does not offer this.
        """
        model = placement.offer(asked, self._settings)
        plan = await self._look(caller, asked, wish, model, params)
        plan.report.require()
        self._budget.require(plan.cost, plan.prices, plan.pools)
        await self._budget.require_key(caller, plan.cost)
        return plan

    async def preflight(self, caller: Caller, asked: Asked, params: TaskInput | None = None) -> Plan:
        """Return what would be made, with everything that speaks against it; refuses nothing that it can explain.

        Raises:
            InvalidField: The region or the GPU pool is not on offer.
        """
        wish = self._wish(caller, asked)
        try:
            model = placement.offer(asked, self._settings)
        except (Refused, InvalidField) as error:
            model = OfferedModel(model_id=asked.model_id)
            report = Report((_not_offered(error),))
            cost = Cost(None, None, None)
            return Plan(model, report, (), (), wish.pools or self._settings.gpu_pools, cost, self._market.known())
        plan = await self._look(caller, asked, wish, model, params, live=True)
        checks = (*plan.report.checks, *self._about_budget(plan))
        return replace(plan, report=replace(plan.report, checks=checks))

    async def placements(self, caller: Caller, asked: Asked) -> tuple[Spot, ...]:
        """Return every place for a model, the best first; for any model, if none is named.

        Raises:
            Refused: The platform does not offer the model, or the hub does not give it.
            InvalidField: The task, the region or the GPU pool is not on offer.
        """
        wish = self._wish(caller, asked)
        if asked.model_id:
            plan = await self._look(caller, asked, wish, placement.offer(asked, self._settings), None, live=True)
            if plan.report.facts is None:
                plan.report.require()
            return plan.spots
        prices = await self._market.prices(caller)
        pools = [PoolFit(prices.pool(pool), None) for pool in wish.pools or self._settings.gpu_pools]
        centers = wish.data_center_ids or self._settings.data_center_ids or prices.data_centers
        return spots.spots(pools, centers, volumes={}, near=caller.place, store=self._store)

    async def with_own_volumes(self, caller: Caller, wish: Wish, plan: Plan) -> Plan:
        """Return a plan anew after Runpod refused a volume: with those that the caller's account has, or with the hub.

        Raises:
            Refused: The model has to come from the hub then, and cannot.
        """
        volumes = _of_model(plan.model, await self._list(caller))
        report, commit = plan.report, plan.commit
        if report.facts is None and not volumes and plan.subject is not None:
            facts = await self._facts(caller, plan.model)
            report = self._report(replace(plan.subject, on_volume=False), facts, plan.model)
            report.require()
            commit = report.facts.info.commit if report.facts else None
        from_hub = report.facts is not None or not volumes
        found, attempts = self._placed(caller, wish, report, plan.prices, volumes, from_hub=from_hub)
        return replace(plan, report=report, spots=found, attempts=attempts, commit=commit)

    async def require_budget(self, caller: Caller, pools: tuple[str, ...], asked: Asked) -> None:
        """Refuse a job on an endpoint that is there already, if it may cost too much; without a ceiling, do nothing.

        Raises:
            Refused: It may (402, `budget_exceeded`).
        """
        if not self._budget.needs_prices(asked.max_cost_usd):
            return
        prices = await self._market.prices(caller)
        cost = self._budget.cost(prices, pools, run_s=self._run_s(asked), asked_usd=asked.max_cost_usd)
        self._budget.require(cost, prices, pools)
        await self._budget.require_key(caller, cost)

    def _run_s(self, asked: Asked) -> float:
        if asked.warm_for_s is not None:
            return asked.warm_for_s
        return asked.run_s or self._settings.job_timeout_s

    def _wish(self, caller: Caller, asked: Asked) -> Wish:
        return placement.wish(asked, user_hash=caller.user_hash, settings=self._settings)

    async def _look(
        self,
        caller: Caller,
        asked: Asked,
        wish: Wish,
        model: OfferedModel,
        params: TaskInput | None,
        *,
        live: bool = False,
    ) -> Plan:
        volumes = await self._volumes(caller, model)
        centers = wish.data_center_ids or self._settings.data_center_ids or tuple(volumes)
        cached = any(center in volumes for center in centers)
        mixed = cached and not all(center in volumes for center in centers)
        far = caller.place is not None and not (centers and len(centers) == 1)
        reckons = self._budget.needs_prices(asked.max_cost_usd)
        asks_hub = live or not cached or mixed
        prices, facts = await asyncio.gather(
            self._prices(caller, live=live, needed=mixed or far or reckons),
            self._facts(caller, model) if asks_hub else _nothing(),
        )
        pools = wish.pools or placement.offered_pools(model, self._settings)
        subject = self._subject(asked, model, params, tuple(prices.pool(pool) for pool in pools))
        subject = replace(subject, on_volume=cached, has_token=caller.hf_token is not None)
        report = self._report(subject, facts, model)
        from_hub = report.facts is not None or not cached
        found, attempts = self._placed(caller, wish, report, prices, volumes, from_hub=from_hub, shows_all=live)
        pools = report.fitting() or pools
        cost = self._budget.cost(prices, pools, run_s=self._run_s(asked), asked_usd=asked.max_cost_usd)
        commit = report.facts.info.commit if report.facts else None
        return Plan(model, report, found, attempts, pools, cost, prices, commit, subject)

    def _placed(
        self,
        caller: Caller,
        wish: Wish,
        report: Report,
        prices: Prices,
        volumes: Volumes,
        *,
        from_hub: bool,
        shows_all: bool = False,
    ) -> tuple[tuple[Spot, ...], tuple[Attempt, ...]]:
        """Return the places and the attempts; without the hub only where a volume holds the model."""
        centers = wish.data_center_ids or self._settings.data_center_ids or tuple(volumes)
        if not centers and (caller.place is not None or shows_all) and prices.has_stock:
            centers = prices.data_centers
        if not from_hub:
            centers = tuple(center for center in centers if center in volumes)
        found = spots.spots(report.pools, centers, volumes=volumes, near=caller.place, store=self._store)
        return found, spots.attempts(found, centers, volumes=volumes)

    def _subject(self, asked: Asked, model: OfferedModel, params: TaskInput | None, pools: tuple[Pool, ...]) -> Subject:
        return Subject(
            model_id=model.model_id,
            task=asked.task,
            tasks=model.tasks,
            pools=pools,
            disk_gb=self._settings.container_disk_gb,
            allow_pickles=self._settings.allow_pickles,
            width=getattr(params, "width", None),
            height=getattr(params, "height", None),
            num_frames=getattr(params, "num_frames", None),
        )

    def _report(self, subject: Subject, found: ModelFacts | HubError | None, model: OfferedModel) -> Report:
        if isinstance(found, HubError):
            is_offered = self._settings.offered(model.model_id) is not None
            return preflight.of_hub_error(subject, found, is_offered=is_offered)
        if found is None:
            return preflight.on_volume(subject)
        return preflight.of_facts(subject, found)

    async def _facts(self, caller: Caller, model: OfferedModel) -> ModelFacts | HubError:
        try:
            return await self._hub.facts(model.model_id, model.revision, caller.hf_token)
        except HubError as error:
            return error

    async def _prices(self, caller: Caller, *, live: bool, needed: bool) -> Prices:
        known = self._market.known()
        return await self._market.prices(caller) if live or (needed and not known.has_stock) else known

    async def _volumes(self, caller: Caller, model: OfferedModel) -> Volumes:
        owned = self._owned.known(caller.user_hash)
        if owned is None and any(volume not in self._places for volume in model.network_volume_ids):
            owned = await self._list(caller)
        return _of_model(model, self._places if owned is None else owned)

    async def _list(self, caller: Caller) -> Mapping[str, str]:
        async def ask() -> Mapping[str, str]:
            return {volume.id: volume.data_center for volume in await caller.runpod.list_network_volumes()}

        return await self._owned.get(caller.user_hash, ask)

    def _about_budget(self, plan: Plan) -> tuple[Check, ...]:
        cost = plan.cost
        if cost.ceiling_usd is None:
            return ()
        if cost.problem is None:
            detail = f"a job costs ${cost.max_job_usd:.4f} at most, and the ceiling is ${cost.ceiling_usd:.4f}."
            return (Check(CheckName.BUDGET, Outcome.OK, detail, field=FIELD),)
        hint = self._budget.hint(cost, plan.prices, plan.pools)
        code = ErrorCode.BUDGET_EXCEEDED
        return (Check(CheckName.BUDGET, Outcome.FAILED, cost.problem, hint, FIELD, code),)


def _of_model(model: OfferedModel, places: Mapping[str, str]) -> Volumes:
    """Return the volumes that hold a model; Runpod mounts at most one for each data center."""
    found: dict[str, str] = {}
    for volume_id in model.network_volume_ids:
        if volume_id in places:
            found.setdefault(places[volume_id], volume_id)
    return found


def _not_offered(error: Refused | InvalidField) -> Check:
    name = CheckName.TASK if error.code is ErrorCode.TASK_NOT_SUPPORTED else CheckName.MODEL
    field, _, detail = error.detail.partition(": ")
    return Check(name, Outcome.FAILED, detail, error.hint, field, error.code)


async def _nothing() -> None:
    return None
