"""Leave to store a picture that jobs begin from."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from visgate_contract.names import user_hash
from visgate_contract.tasks import MAX_IMAGE_BYTES

KEY = "rpa_CANARYKEY0000000000000000000001"
ASKED = {"content_type": "image/png", "size_bytes": 402_117}


async def test_a_caller_gets_leave_to_put_one_picture_and_a_link_to_it(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        answer = await client.post("/v1/uploads", json=ASKED)
        again = await client.post("/v1/uploads", json=ASKED)
    assert answer.status_code == 201, answer.text
    given = answer.json()
    put, get = urlsplit(given["put_url"]), urlsplit(given["url"])
    assert put[:3] == get[:3]
    folder, name = put.path.rsplit("/", 1)
    assert folder.endswith(f"/{user_hash(KEY)[:16]}/in")
    assert len(name) == 32 + len(".png")
    assert again.json()["put_url"].partition("?")[0] != given["put_url"].partition("?")[0]
    assert parse_qs(put.query)["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
    assert all(len(parse_qs(url.query)["X-Amz-Signature"][0]) == 64 for url in (put, get))  # not masked away
    assert given["headers"] == {"Content-Type": "image/png", "Content-Length": "402117"}
    now = datetime.now(UTC)
    assert now < datetime.fromisoformat(given["put_until"]) <= now + timedelta(minutes=15)
    assert datetime.fromisoformat(given["good_until"]) > now + timedelta(hours=23)
    assert KEY not in answer.text
    assert runpod.calls == {"list_endpoints": 2}  # whoever has no endpoints yet may bring a picture, too


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({**ASKED, "content_type": "image/gif"}, "content_type"),
        ({**ASKED, "size_bytes": MAX_IMAGE_BYTES + 1}, "size_bytes"),
        ({**ASKED, "size_bytes": 0}, "size_bytes"),
        ({"content_type": "image/png"}, "size_bytes"),
        ({**ASKED, "name": "../x"}, "name"),
    ],
)
async def test_what_no_job_could_begin_from_is_refused(serve: Any, asked: dict[str, Any], field: str) -> None:
    async with serve() as client:
        answer = await client.post("/v1/uploads", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert field in answer.text


async def test_nobody_gets_one_with_a_key_that_runpod_does_not_know(serve: Any, runpod: Any) -> None:
    refused = {"title": "Unauthorized", "status": 401, "detail": "wrong key"}
    runpod.answers["list_endpoints"] = httpx.Response(401, json=refused)
    async with serve() as client:
        answer = await client.post("/v1/uploads", json=ASKED)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "X-Amz" not in answer.text


async def test_nobody_gets_one_without_a_key(serve: Any) -> None:
    async with serve() as client:
        client.headers.pop("Authorization")
        answer = await client.post("/v1/uploads", json=ASKED)
    assert answer.status_code == 401
