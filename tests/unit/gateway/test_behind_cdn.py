"""The gateway behind a CDN in AWS: who may come in, who signs uploads, how links are signed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from pulumi_visgate.gateway.logs import ACCESS
from pulumi_visgate.gateway.middleware.origin import OriginGate
from pulumi_visgate.gateway.services.links import Links
from pulumi_visgate.gateway.services.role_session import RoleSession
from pulumi_visgate.gateway.services.store import ArtifactStore
from pulumi_visgate.gateway.services.uploads import Uploads
from pulumi_visgate.link_signing import canned_policy, link_public_key, link_signer
from tests.unit.gateway.conftest import NewSettings, Serve
from visgate_contract.tasks import Text2ImgInput

SECRET = "what-only-the-cdn-knows"
ROLE = "arn:aws:iam::123456789012:role/uploader"
SIGNING_KEY = "signing-key-of-the-tests-0123456789"
START = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def through(path: str = "/v1/models", **headers: str | list[str]) -> tuple[int, dict[str, Any]]:
    """Send a request through the gate; returns the status, and what the application saw."""
    seen: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []

    async def application(scope: Any, _receive: Any, send: Any) -> None:
        seen.update(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        answers.append(message)

    lines = [
        (name.replace("_", "-").encode(), value.encode())
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    scope = {"type": "http", "method": "GET", "path": path, "headers": lines, "client": ("10.0.0.1", 4711)}
    await OriginGate(application, secret=SECRET)(scope, None, send)  # type: ignore[arg-type]  # nothing is received
    return answers[0]["status"], seen


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_visgate_origin": ""},
        {"x_visgate_origin": "a-guess"},
        {"x_visgate_origin": SECRET[:-1]},
        {"x_visgate_origin": [SECRET, "another"]},
        {"x_visgate_origin": [SECRET, SECRET]},
        {"authorization": f"Bearer {SECRET}"},
    ],
)
async def test_who_has_not_come_through_the_cdn_is_refused(headers: dict[str, Any]) -> None:
    assert await through(**headers) == (403, {})


async def test_what_the_cdn_has_sent_is_served_and_does_not_see_the_secret() -> None:
    status, seen = await through(x_visgate_origin=SECRET, x_visgate_client="203.0.113.7", accept="*/*")
    assert (status, seen["client"]) == (200, ("203.0.113.7", 0))
    assert seen["headers"] == [(b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("told", "client"), [("2001:db8::1", "2001:db8::1"), ("nobody", "10.0.0.1"), ("1.2.3.4, 5.6.7.8", "10.0.0.1")]
)
async def test_only_an_address_is_taken_for_one(told: str, client: str) -> None:
    _, seen = await through(x_visgate_origin=SECRET, x_visgate_client=told)
    assert seen["client"][0] == client


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
async def test_probes_come_from_inside(path: str) -> None:
    assert (await through(path))[0] == 200


async def test_figures_and_logs_know_the_route_behind_the_gate(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger=ACCESS):
        async with serve(origin_secret=SECRET) as client:
            assert (await client.get("/v1/models")).status_code == 403
            assert (await client.get("/v1/models", headers={"X-Visgate-Origin": SECRET})).status_code == 200
    told = [record.fields for record in caplog.records if record.name == ACCESS]  # type: ignore[attr-defined]  # an extra
    assert [(fields["route"], fields["status"]) for fields in told] == [("unmatched", 403), ("/v1/models", 200)]


class Sts:
    """AWS's STS, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = START
        self.asked: list[dict[str, Any]] = []

    def assume_role(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        number = len(self.asked)
        given = {"AccessKeyId": f"key-{number}", "SecretAccessKey": "secret", "SessionToken": "token"}
        return {"Credentials": {**given, "Expiration": self.now + timedelta(seconds=asked["DurationSeconds"])}}


async def test_a_session_is_renewed_before_what_it_signs_could_outlive_it() -> None:
    sts = Sts()
    session = RoleSession(ROLE, "eu-central-1", needed_s=3300, sts=sts, clock=lambda: sts.now)
    with pytest.raises(RuntimeError, match="not been taken"):
        session()
    await asyncio.gather(*(session.renew() for _ in range(5)))
    assert (session().key_id, session().token) == ("key-1", "token")
    assert [asked["RoleArn"] for asked in sts.asked] == [ROLE]
    for minutes, key in ((3, "key-1"), (4, "key-2"), (7, "key-2"), (9, "key-3")):
        sts.now = START + timedelta(minutes=minutes, seconds=30)
        await session.renew()
        assert session().key_id == key, minutes


def test_uploads_cannot_be_asked_to_outlive_a_session(new_settings: NewSettings) -> None:
    with pytest.raises(ValidationError, match="upload_ttl_s must not be more than 3300"):
        new_settings(s3_role_arn=ROLE)
    with pytest.raises(ValidationError, match="key_prefix"):
        new_settings(key_prefix="../up/")


def test_a_link_is_good_for_its_url_and_time_alone() -> None:
    url = "https://cdn.acme.example/artifacts/a/b/0.png"
    link = link_signer(SIGNING_KEY, "K2ABC")(url, 1_800_000_000)
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    assert link.startswith(f"{url}?Expires=1800000000&")
    assert (query["Key-Pair-Id"], query["Hash-Algorithm"]) == ("K2ABC", "SHA256")
    signature = _decoded(query["Signature"])
    key = serialization.load_pem_public_key(link_public_key(SIGNING_KEY).encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    algorithm = ec.ECDSA(hashes.SHA256())
    key.verify(signature, canned_policy(url, 1_800_000_000), algorithm)
    for other in (canned_policy(url, 1_800_000_001), canned_policy(url + "x", 1_800_000_000)):
        with pytest.raises(InvalidSignature):
            key.verify(signature, other, algorithm)


def _decoded(text: str) -> bytes:
    import base64

    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")))


def test_the_key_of_links_follows_from_the_platforms_key() -> None:
    assert link_public_key(SIGNING_KEY) == link_public_key(SIGNING_KEY)
    assert link_public_key(SIGNING_KEY) != link_public_key(SIGNING_KEY + "x")


def test_artifacts_lie_under_the_prefix_and_their_links_are_signed(new_settings: NewSettings) -> None:
    given = {"key_prefix": "artifacts/", "link_key_id": "K2ABC", "s3_endpoint": "https://s3.test"}
    keys = {"s3_access_key_id": "id", "s3_secret_access_key": "secret"}
    settings = new_settings(**given, **keys, cdn_base_url="https://cdn.acme.example")
    params = Text2ImgInput(prompt="a red fox")
    store = ArtifactStore(settings, httpx.AsyncClient())
    [upload] = Uploads(settings, store, Links(settings, store)).grant(
        user_hash="f" * 64, task_id="task_1", params=params
    )
    assert urlsplit(upload.put_url).path.endswith(f"/artifacts/{'f' * 16}/task_1/0.png")
    assert upload.cdn_url.startswith(f"https://cdn.acme.example/artifacts/{'f' * 16}/task_1/0.png?Expires=")
