"""OpenAI's public client, unchanged, against the gateway: only its base URL and key say where to go."""

import asyncio
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"


def test_openais_client_works_unchanged(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway, key = start_gateway(), runpod_emulator.key
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, timeout=60) as client:
        made = client.images.generate(
            model=MODEL, prompt="a red fox", n=2, size="512x512", response_format="url", extra_body={"seed": 7}
        )
        assert made.data is not None
        assert made.created > 0
        assert [str(picture.url)[-6:] for picture in made.data] == ["/0.png", "/1.png"]

        once = {"Idempotency-Key": "sent-twice"}
        first, again = (client.images.generate(model=MODEL, prompt="an owl", extra_headers=once) for _ in range(2))
        assert first.data == again.data
        assert runpod_emulator.requests(key)["run"] == 2

        with pytest.raises(openai.BadRequestError) as wrong:
            client.images.generate(model=MODEL, prompt="a red fox", size="1x1")
        assert (wrong.value.param, wrong.value.type) == ("size", "invalid_request_error")
        with pytest.raises(openai.NotFoundError) as unknown:
            client.images.generate(model="nobody/nothing", prompt="a red fox")
        assert unknown.value.code == "model_not_found"

    async def generate() -> openai.types.ImagesResponse:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, timeout=60) as client:
            return await client.images.generate(model=MODEL, prompt="a red fox")

    assert len(asyncio.run(generate()).data or ()) == 1
    stranger = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="x")
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.images.generate(model=MODEL, prompt="a red fox")
    gateway.close()
    assert key not in gateway.log.getvalue()


def test_openais_client_does_not_repeat_what_takes_too_long(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway(IMAGES_WAIT_S="0.5")
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=runpod_emulator.key, timeout=60)
    with client, pytest.raises(openai.InternalServerError) as late:
        client.images.generate(model=MODEL, prompt="wait")
    assert (late.value.status_code, late.value.code) == (504, "deadline_exceeded")
    assert late.value.response.headers["x-visgate-job-id"] in str(late.value)
    assert runpod_emulator.requests(runpod_emulator.key)["run"] == 1
