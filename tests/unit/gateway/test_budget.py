"""Ceilings: what is refused before anything is made, and what the answer says."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.services.budget import Budget, Cost
from pulumi_visgate.gateway.services.market import Pool, Prices
from pulumi_visgate.runpod.offers import Offer, Stock

MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}}
PAID_S = 900 + 60  # the longest run and the idle time of the tests' settings


@pytest.fixture(autouse=True)
def _catalog(runpod: Any) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.0, EU_RO_1="HIGH")
    runpod.offer_gpu("AMPERE_48", 48, 2.0, EU_RO_1="HIGH")


@pytest.mark.parametrize("where", ["platform", "request"])
async def test_a_job_that_may_cost_too_much_is_refused(serve: Any, runpod: Any, where: str) -> None:
    settings = {"max_job_usd": 0.4} if where == "platform" else {}
    job = JOB if where == "platform" else {**JOB, "max_cost_usd": 0.4}
    async with serve(**settings) as client:
        refused = await client.post("/v1/jobs", json=job)
        looked = await client.post("/v1/preflight", json=job)
        cheaper = await client.post("/v1/jobs", json={**job, "gpu_pool": "ADA_24"})
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
    assert refused.json()["title"] == "Budget exceeded"
    assert "a job may cost up to $0.5333, and the ceiling is $0.4." in refused.json()["detail"]
    assert refused.json()["hint"] == "With gpu_pool ADA_24 it is $0.2667 at most."
    assert refused.json()["errors"][0]["field"] == "max_cost_usd"
    (failed,) = [check for check in looked.json()["checks"] if check["outcome"] == "failed"]
    assert (failed["name"], failed["hint"]) == ("budget", refused.json()["hint"])
    assert looked.json()["cost"] == {"usd_per_hour": 2.0, "max_job_usd": 0.533333, "ceiling_usd": 0.4}
    assert cheaper.status_code == 202
    assert runpod.calls["create_endpoint"] == runpod.calls["run"] == 1


async def test_a_ceiling_holds_on_endpoints_that_are_there(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        assert (await client.post("/v1/jobs", json=JOB)).status_code == 202
        refused = await client.post("/v1/jobs", json={**JOB, "max_cost_usd": 0.1})
        allowed = await client.post("/v1/jobs", json={**JOB, "max_cost_usd": 0.6})
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
    assert "Ask for a shorter longest run or a cheaper GPU pool" in refused.json()["hint"]
    assert allowed.status_code == 202
    assert runpod.calls["run"] == 2


async def test_a_ceiling_needs_prices(serve: Any, runpod: Any) -> None:
    runpod.gpus.clear()
    async with serve(max_job_usd=10) as client:
        refused = await client.post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
    assert "price of the GPUs is not known" in refused.json()["detail"]


async def test_a_key_whose_account_has_spent_its_day_is_refused(serve: Any, runpod: Any) -> None:
    runpod.spent_usd = 9.6
    async with serve(max_key_usd_per_day=10) as client:
        refused = await client.post("/v1/jobs", json=JOB)
        again = await client.post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
    assert "has spent $9.60" in refused.json()["detail"]
    assert "the ceiling is $10.00 a day" in refused.json()["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 3600
    assert again.status_code == 402
    assert runpod.calls["list_billing"] == 1  # once a minute
    assert runpod.calls["create_endpoint"] == 0
    runpod.spent_usd = 1.0
    async with serve(max_key_usd_per_day=10) as client:
        assert (await client.post("/v1/jobs", json=JOB)).status_code == 202


async def test_a_bill_that_cannot_be_read_lets_nothing_through(serve: Any, runpod: Any) -> None:
    runpod.answers["list_billing"] = httpx.Response(403, json={"title": "Forbidden", "status": 403, "detail": "no"})
    async with serve(max_key_usd_per_day=10) as client:
        refused = await client.post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (403, "runpod_refused")
    assert runpod.calls["create_endpoint"] == 0


async def test_without_a_ceiling_nobody_is_asked(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        await client.post("/v1/jobs", json=JOB)
        await client.post("/v1/jobs", json=JOB)
    assert runpod.calls["list_billing"] == runpod.calls["list_gpu_types"] == 0


def test_the_dearest_gpu_of_a_pool_counts(new_settings: Any) -> None:
    offers = tuple(Offer(f"GPU {price}", "ADA_24", 24, price, Stock.HIGH, {}, 8, {}) for price in (0.5, 1.5))
    prices = Prices({"ADA_24": Pool("ADA_24", offers, has_stock=True)}, has_stock=True)
    cost = Budget(new_settings(max_job_usd=1.0)).cost(prices, ["ADA_24"], run_s=3540, asked_usd=5.0)
    assert cost == Cost(usd_per_hour=1.5, max_job_usd=1.5, ceiling_usd=1.0)


async def test_days_begin_at_midnight_utc(new_settings: Any, runpod: Any) -> None:
    moment = datetime(2026, 11, 28, 23, 59, 30, tzinfo=UTC)
    budget = Budget(new_settings(max_key_usd_per_day=1.0), now=lambda: moment)
    assert budget._midnight() == datetime(2026, 11, 28, tzinfo=UTC)
