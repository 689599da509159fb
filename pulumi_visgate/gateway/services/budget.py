"""Ceilings on money: what one job may cost at most, and what the account behind a key may spend in a day.

A job costs at most what the dearest GPU that it may run on costs for its longest run, and for the time that its worker
then stays idle. What was spent is Runpod's own bill of serverless endpoints (`listServerlessBilling`), read once a
minute for each key where there is such a ceiling; days begin at midnight UTC.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.problems import FieldProblem, Refused
from pulumi_visgate.gateway.services.market import Prices
from pulumi_visgate.gateway.services.shared import Shared
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.runpod.models.billing import BillingBucketSize, ServerlessBillingFilter
from visgate_contract.errors import ErrorCode

BILL_S = 60.0
FIELD = "max_cost_usd"
_STATUS = 402


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request may cost.

    Args:
        usd_per_hour: Of a worker on the dearest GPU that it may get; None when a price is not known.
        max_job_usd: Of one job; None when a price is not known.
        ceiling_usd: What one job may cost; None when there is no ceiling.
    """

    usd_per_hour: float | None
    max_job_usd: float | None
    ceiling_usd: float | None

    @property
    def problem(self) -> str | None:
        """What is wrong, in words."""
        if self.ceiling_usd is None:
            return None
        if self.max_job_usd is None:
            return "the price of the GPUs is not known now, so that a ceiling cannot be held."
        if self.max_job_usd <= self.ceiling_usd:
            return None
        return f"a job may cost up to {_usd(self.max_job_usd)}, and the ceiling is {_usd(self.ceiling_usd)}."


class Budget:
    """Holds requests to the ceilings.

    Args:
        settings: The platform's ceilings and deadlines.
        now: The time.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        self._bills: Shared[float] = Shared(kept_s=BILL_S)

    def needs_prices(self, asked_usd: float | None) -> bool:
        """Tell whether there is a ceiling to reckon with.

        Args:
            asked_usd: What the request itself allows.
        """
        return asked_usd is not None or bool(self._settings.max_job_usd or self._settings.max_key_usd_per_day)

    def cost(self, prices: Prices, pools: Sequence[str], *, run_s: float, asked_usd: float | None = None) -> Cost:
        """Return what a job may cost.

        Args:
            prices: The catalog.
            pools: Pools that it may run on.
            run_s: Its longest run, in seconds.
            asked_usd: What the request itself allows.
        """
        ceilings = [usd for usd in (asked_usd, self._settings.max_job_usd) if usd is not None]
        paid_s = run_s + self._settings.idle_timeout_s
        return Cost(
            prices.dearest_usd(pools, 3600),
            prices.dearest_usd(pools, paid_s),
            min(ceilings, default=None),
        )

    def require(self, cost: Cost, prices: Prices, pools: Sequence[str]) -> None:
        """Refuse a job that may cost too much.

        Raises:
            Refused: It may (402, `budget_exceeded`); the hint names what would cost less.
        """
        problem = cost.problem
        if problem is None:
            return
        raise Refused(
            _STATUS,
            f"{FIELD}: {problem}",
            code=ErrorCode.BUDGET_EXCEEDED,
            hint=self.hint(cost, prices, pools),
            fields=[FieldProblem(field=FIELD, detail=problem)],
        )

    def hint(self, cost: Cost, prices: Prices, pools: Sequence[str]) -> str:
        """Return what would cost less."""
        if cost.max_job_usd is None or cost.ceiling_usd is None:
            return "Try again in a moment; nothing was created."
        known = [(prices.pool(pool).usd_per_hour, pool) for pool in pools]
        price, cheapest = min(((price, pool) for price, pool in known if price is not None), default=(0.0, ""))
        paid_s = cost.max_job_usd * 3600 / cost.usd_per_hour if cost.usd_per_hour else 0.0
        least = price * paid_s / 3600
        if len(pools) > 1 and least <= cost.ceiling_usd:
            return f"With gpu_pool {cheapest} it is {_usd(least)} at most."
        return "Ask for a shorter longest run or a cheaper GPU pool, or allow more; GET /v1/placements shows prices."

    async def require_key(self, caller: Caller, cost: Cost) -> None:
        """Refuse a job of a key whose account has spent what it may spend in a day.

        Raises:
            Refused: It has, or this job could bring it there (402, `budget_exceeded`).
            RunpodError: The bill cannot be read, so that the ceiling cannot be held.
        """
        ceiling = self._settings.max_key_usd_per_day
        if ceiling is None:
            return
        spent = await self._bills.get((caller.user_hash, self._midnight()), lambda: self._bill(caller))
        reserve = cost.max_job_usd or 0.0
        if spent + reserve <= ceiling:
            return
        left_s = round((self._midnight() + timedelta(days=1) - self._now()).total_seconds())
        raise Refused(
            _STATUS,
            f"The Runpod account of this key has spent {_usd(spent)} on serverless endpoints today, and this job may "
            f"cost {_usd(reserve)}; the ceiling is {_usd(ceiling)} a day.",
            code=ErrorCode.BUDGET_EXCEEDED,
            hint="The day ends at midnight UTC. Whoever runs this platform sets the ceiling.",
            headers={"Retry-After": str(max(1, left_s))},
        )

    async def _bill(self, caller: Caller) -> float:
        query = ServerlessBillingFilter(start_time=self._midnight(), bucket_size=BillingBucketSize.DAY)
        return (await caller.runpod.list_serverless_billing(query)).metadata.totals.total_amount

    def _midnight(self) -> datetime:
        return self._now().replace(hour=0, minute=0, second=0, microsecond=0)


def _usd(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}".rstrip("0").rstrip(".") if amount else "$0"
