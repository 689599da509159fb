from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pulumi_visgate.cli.errors import GatewayError, JobFailedError
from pulumi_visgate.cli.gateway import Gateway
from pulumi_visgate.cli.target import Target
from visgate_contract.events import Status

TARGET = Target("https://gw.test", SecretStr("rpa_SECRETSECRETSECRETSECRET"))


def gateway(handler: Callable[[httpx.Request], httpx.Response], pauses: list[float] | None = None) -> Gateway:
    return Gateway(TARGET, transport=httpx.MockTransport(handler), pause=(pauses if pauses is not None else []).append)


def sse(*texts: str) -> httpx.Response:
    body = "".join(texts).encode()
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=httpx.ByteStream(body))


def message(event: Any) -> str:
    return f"id: {event.data.sequence}\ndata: {event.body().decode()}\n\n"


def refuse(request: httpx.Request) -> httpx.Response:
    text = "connection refused"
    raise httpx.ConnectError(text, request=request)


def test_faults_that_may_pass_are_waited_out_with_growing_pauses(good_gateway: Any) -> None:
    answers: Iterator[httpx.Response] = iter(
        [
            httpx.Response(502, text="bad gateway"),
            httpx.Response(503, json={"detail": "x"}),
            httpx.Response(429, json={"detail": "slow down"}),
            sse(*map(message, good_gateway.events)),
        ]
    )
    pauses: list[float] = []
    events = gateway(lambda _: next(answers), pauses).events("job", timeout_s=60)
    assert [event.data.status for event in events][-1] is Status.READY
    assert pauses == [0.2, 0.4, 0.8]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json={"detail": "No.", "hint": "Do not."})

    with pytest.raises(GatewayError, match=r"^No\. Do not\.$"):
        list(gateway(answer).events("job", timeout_s=60))
    assert len(asked) == 1


def test_an_error_event_is_an_error() -> None:
    problem = 'event: error\ndata: {"status": 404, "detail": "The endpoint is gone.", "hint": "Ask again."}\n\n'
    with pytest.raises(GatewayError, match="The endpoint is gone") as caught:
        list(gateway(lambda _: sse(problem)).events("job", timeout_s=60))
    assert caught.value.status == 404


def test_events_come_once_and_unknown_ones_are_skipped(good_gateway: Any) -> None:
    first, *others = good_gateway.events
    repeated = sse(message(first), message(first), 'data: {"new": "kind"}\n\n', *map(message, others))
    events = list(gateway(lambda _: repeated).events("job", timeout_s=60))
    assert [event.data.sequence for event in events] == [0, 1, 2, 3]


def test_a_gateway_that_stays_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_visgate.cli.gateway.RECONNECT_S", 0.0)
    with pytest.raises(GatewayError, match=r"https://gw\.test cannot be reached"):
        list(gateway(refuse).events("job", timeout_s=60))


def test_the_wait_has_an_end(good_gateway: Any) -> None:
    with pytest.raises(JobFailedError, match="has not ended after 0 s"):
        list(gateway(lambda _: sse(message(good_gateway.events[0]))).events("job_x", timeout_s=0.0))


def test_an_answer_that_is_no_job_is_said() -> None:
    with pytest.raises(GatewayError, match="is it a Visgate gateway"):
        gateway(lambda _: httpx.Response(200, text="<html>hello</html>")).submit({})


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="<html>oops</html>"),
        httpx.Response(500, json=["oops"]),
        httpx.Response(500, headers={"content-type": "application/json"}, content=b"{broken"),
    ],
)
def test_an_answer_that_is_no_problem_document_is_told_by_its_status(answer: httpx.Response) -> None:
    with pytest.raises(GatewayError, match="The gateway answered 500"):
        gateway(lambda _: answer).submit({})


def test_retry_after_is_told() -> None:
    limited = httpx.Response(429, headers={"retry-after": "17"}, json={"detail": "Too many."})
    with pytest.raises(GatewayError, match=r"Try again in 17 s\."):
        gateway(lambda _: limited).submit({})


def test_the_key_is_in_no_error(good_gateway: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        gateway(refuse).submit({})
    assert "SECRETSECRET" not in repr(caught.value) + str(caught.value) + repr(TARGET)


def test_a_download_ends_when_it_grows_too_large(artifact: Any, tmp_path: Path) -> None:
    endless = httpx.Response(200, stream=httpx.ByteStream(b"x" * (artifact.size_bytes + 1)))
    with pytest.raises(GatewayError, match="size or SHA-256"):
        gateway(lambda _: endless).download(artifact, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_artifact_is_said(artifact: Any, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"answered 404 for https://cdn\.test/0\.png"):
        gateway(lambda _: httpx.Response(404)).download(artifact, tmp_path / "a.png")


def test_the_webhook_secret_is_asked_for() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/webhooks/key"
        return httpx.Response(200, json={"secret": "whsec_x"})

    assert gateway(answer).webhook_secret() == "whsec_x"
