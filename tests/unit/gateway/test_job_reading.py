"""Jobs by their id: as long as Runpod knows them, and after that; with links that are good now."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from pulumi_visgate.gateway.services.links import Links
from pulumi_visgate.gateway.services.store import ArtifactStore
from tests.unit.gateway.test_jobs import BODY, KEY, MODEL, event, pool
from visgate_contract.events import Artifact, Event, EventError, Status, Timings
from visgate_contract.jobs import JobResult
from visgate_contract.ledger import Delivery, Ledger
from visgate_contract.names import user_hash

USER = user_hash(KEY)
FAL_AUTH = {"Authorization": f"Key {KEY}"}


def picture(url: str) -> Artifact:
    return Artifact(url=url, content_type="image/png", width=8, height=8, size_bytes=9, sha256="0" * 64, seed=7)


def link(task_id: str, name: str = "0.png", base: str = "http://old-cdn.test/gone") -> str:
    return f"{base}/{USER[:16]}/{task_id}/{name}?Expires=1&Signature=old"


async def submitted(client: Any, runpod: Any) -> tuple[str, dict[str, Any]]:
    answer = await client.post("/v1/jobs", json=BODY)
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"], next(reversed(runpod.jobs.values()))


def ledger_of(job: dict[str, Any], *events: Event) -> Ledger:
    return Ledger(task_id=job["input"]["task_id"], runpod_job_id=job["id"]).noting(
        *(Delivery(event=one, tries=1, delivered_at=datetime.now(UTC)) for one in events)
    )


def ready(job: dict[str, Any]) -> tuple[Event, Event]:
    made = picture(link(job["input"]["task_id"]))
    return (
        event(job, 1, Status.STARTED, worker_id="w1"),
        event(job, 2, Status.READY, worker_id="w1", artifacts=(made,), timings=Timings(generate_s=0.5)),
    )


async def test_a_job_that_runpod_has_forgotten_is_read_from_its_ledger(serve: Any, runpod: Any, bucket: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id, job = await submitted(client, runpod)
        bucket.keep(USER, ledger_of(job, *ready(job)))
        runpod.jobs.clear()
        shown = (await client.get(f"/v1/jobs/{job_id}")).json()
        cancelled = await client.post(f"/v1/jobs/{job_id}/cancel")
        events = (await client.get(f"/v1/jobs/{job_id}/events")).text
        status = await client.get(f"/fal/{MODEL}/requests/{job_id}/status?logs=1", headers=FAL_AUTH)
        result = await client.get(f"/fal/{MODEL}/requests/{job_id}", headers=FAL_AUTH)
        retried = await client.post(f"/v1/jobs/{job_id}/retry")
    assert (shown["status"], shown["runpod_status"], shown["worker_id"]) == ("ready", "COMPLETED", "w1")
    assert shown["artifacts"][0]["url"] == f"http://cdn.test/artifacts/{USER[:16]}/{job['input']['task_id']}/0.png"
    assert cancelled.json()["artifacts"] == shown["artifacts"]
    assert re.findall(r"^event: (.*)$", events, re.M) == ["job.provisioning", "job.started", "job.ready"]
    assert "old-cdn" not in events
    assert (status.status_code, status.json()["status"]) == (200, "COMPLETED")
    assert [line["message"] for line in status.json()["logs"]] == ["provisioning", "started", "ready"]
    assert result.json()["images"][0]["url"] == shown["artifacts"][0]["url"]
    assert retried.status_code == 404


@pytest.mark.parametrize(
    ("code", "state"), [("generation_failed", "FAILED"), ("cancelled", "CANCELLED"), ("deadline_exceeded", "TIMED_OUT")]
)
async def test_why_a_forgotten_job_failed(serve: Any, runpod: Any, bucket: Any, code: Any, state: str) -> None:
    pool(runpod)
    async with serve() as client:
        job_id, job = await submitted(client, runpod)
        error = EventError(code=code, detail=f"no luck with {KEY}", hint="Try again.")
        bucket.keep(USER, ledger_of(job, event(job, 2, Status.FAILED, error=error)))
        runpod.jobs.clear()
        shown = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (shown["status"], shown["runpod_status"]) == ("failed", state)
    assert (shown["error"]["code"], shown["error"]["detail"]) == (code, "no luck with [masked]")


async def test_without_an_end_in_its_ledger_a_forgotten_job_is_not_found(serve: Any, runpod: Any, bucket: Any) -> None:
    pool(runpod)
    async with serve() as client:
        job_id, job = await submitted(client, runpod)
        runpod.jobs.clear()
        without = await client.get(f"/v1/jobs/{job_id}")
        bucket.keep(USER, ledger_of(job, event(job, 1, Status.STARTED)))
        begun = await client.get(f"/v1/jobs/{job_id}")
        stream = await client.get(f"/v1/jobs/{job_id}/events")
    assert [each.status_code for each in (without, begun, stream)] == [404] * 3
    assert "forgotten" in without.json()["detail"]


async def test_links_are_made_anew_whenever_a_job_is_shown(serve: Any, runpod: Any) -> None:
    pool(runpod)
    async with serve(link_key_id="K2ABC", cdn_base_url="https://cdn.test") as client:
        job_id, job = await submitted(client, runpod)
        own, foreign = link(job["input"]["task_id"]), "https://elsewhere.test/x/0.png?Signature=theirs"
        others = link("task_" + "0" * 26)
        made = tuple(map(picture, (own, foreign, others)))
        job.update(status="COMPLETED", output=JobResult(task_id=job["input"]["task_id"], artifacts=made).to_runpod())
        shown = (await client.get(f"/v1/jobs/{job_id}")).json()
        result = (await client.get(f"/fal/{MODEL}/requests/{job_id}", headers=FAL_AUTH)).json()
    urls = [each["url"] for each in shown["artifacts"]]
    assert urls[0].startswith(f"https://cdn.test/{USER[:16]}/{job['input']['task_id']}/0.png?Expires=")
    assert int(parse_qs(urlsplit(urls[0]).query)["Expires"][0]) > datetime.now(UTC).timestamp()
    assert urls[1:] == [foreign, others]
    assert result["images"][0]["url"].partition("?")[0] == urls[0].partition("?")[0]


@pytest.mark.parametrize(
    "name", ["../../secret/0.png", "0.png/../1.png", "x.png", "", "0", "%2e%2e/0.png", "0.png%00.html", "0.html#x/y"]
)
def test_a_worker_cannot_have_another_object_signed(new_settings: Any, name: str) -> None:
    settings = new_settings(cdn_base_url=None)
    links = Links(settings, ArtifactStore(settings, httpx.AsyncClient()))
    (same,) = links.renewed([picture(link("task_1", name))], user_hash=USER, task_id="task_1")
    assert same.url == link("task_1", name)


def test_without_a_cdn_links_are_presigned_requests_to_the_bucket(new_settings: Any) -> None:
    settings = new_settings(cdn_base_url=None, link_ttl_s=3600, key_prefix="made/")
    links = Links(settings, ArtifactStore(settings, httpx.AsyncClient()))
    first = links.to(links.key(USER, "task_1", "0.png"))
    (again,) = links.renewed([picture(first)], user_hash=USER, task_id="task_1")
    for url in (first, again.url):
        assert urlsplit(url).path == f"/artifacts/made/{USER[:16]}/task_1/0.png"
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["3600"]
    assert links.renewed([picture(first)], user_hash=USER, task_id=None)[0].url == first


@pytest.mark.parametrize("name", ["0.png", "12.mp4", "0.thumbnail.webp", "3.poster.jpg", "receipt.jws"])
def test_whatever_a_job_has_made_has_a_link_that_is_made_anew(new_settings: Any, name: str) -> None:
    settings = new_settings(cdn_base_url="https://cdn.test")
    links = Links(settings, ArtifactStore(settings, httpx.AsyncClient()))
    new = links.renew(link("task_1", name), user_hash=USER, task_id="task_1")
    assert new == f"https://cdn.test/{USER[:16]}/task_1/{name}"
    small = picture("https://elsewhere.test/0.png").model_copy(update={"thumbnail_url": link("task_1", name)})
    (shown,) = links.renewed([small], user_hash=USER, task_id="task_1")
    assert (shown.url, shown.thumbnail_url, shown.poster_url) == (small.url, new, None)
