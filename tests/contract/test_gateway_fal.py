"""fal's public client, unchanged, against the gateway: only its environment says where to go."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from queue import Queue
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"
CLIENT = """
import asyncio, json, sys
import fal_client

model, webhook = sys.argv[1:]
wanted = {"prompt": "a red fox", "image_size": "square", "num_inference_steps": 2, "num_images": 2, "seed": 7,
          "enable_safety_checker": True}
found = {}
handle = fal_client.submit(model, wanted, start_timeout=300, priority="normal", hint="a-runner")
found["id"] = handle.request_id
found["events"] = [type(event).__name__ for event in handle.iter_events(with_logs=True)]
found["result"] = handle.get()
found["again"] = fal_client.result(model, handle.request_id)
last = fal_client.status(model, handle.request_id, with_logs=True)
found["logs"] = [line["message"] for line in last.logs]
found["metrics"] = last.metrics
found["subscribed"] = fal_client.subscribe(model + "/text-to-image", wanted, with_logs=True)
found["async"] = asyncio.run(fal_client.subscribe_async(model, wanted))
found["hooked"] = fal_client.submit(model, wanted, webhook_url=webhook).request_id

running = fal_client.submit(model, {"prompt": "wait"})
for event in running.iter_events():
    if isinstance(event, fal_client.InProgress):
        break
fal_client.cancel(model, running.request_id)
for event in running.iter_events():
    pass
found["cancelled"] = [event.error, event.error_type]

def refusal(call, *arguments):
    try:
        call(*arguments)
    except fal_client.FalClientHTTPError as error:
        return [error.status_code, error.message, error.error_type, "x-fal-request-id" in error.response_headers]

found["result of cancelled"] = refusal(running.get)
found["cancel again"] = refusal(running.cancel)
found["wrong"] = refusal(fal_client.submit, model, {"prompt": "x", "num_inference_steps": 0})
found["unknown"] = refusal(fal_client.submit, "nobody/nothing", {"prompt": "x"})
found["foreign id"] = refusal(fal_client.result, model, "job_a_b_c")
print(json.dumps(found))
"""


def run_client(tls: Any, key: str, *arguments: str) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    env |= {"FAL_QUEUE_RUN_HOST": f"127.0.0.1:{tls.port}", "FAL_KEY": key, "SSL_CERT_FILE": str(tls.ca_file)}
    command = [sys.executable, "-c", CLIENT, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_fals_client_works_unchanged(
    start_gateway: Any, runpod_emulator: Any, tls: Any, receiver: tuple[str, Queue[tuple[dict[str, str], bytes]]]
) -> None:
    url, received = receiver
    gateway, key = start_gateway(), runpod_emulator.key
    tls.target = gateway.port
    found = run_client(tls, key, MODEL, f"{url}?password=hunter2")

    assert found["events"][-1] == "Completed"
    assert set(found["events"]) <= {"Queued", "InProgress", "Completed"}
    result = found["result"]
    assert [(image["content_type"], image["width"], image["height"]) for image in result["images"]] == [
        ("image/png", 512, 512)
    ] * 2
    assert all(image["url"].startswith("http://127.0.0.1:9/artifacts/") for image in result["images"])
    assert (result["seed"], result["timings"]) == (7, {"inference": 0.5})
    assert found["again"] == result
    assert found["metrics"] == {"inference_time": 0.5}
    assert found["logs"] == ["provisioning", "started", "step 1 of 1", "ready"]
    assert len(found["subscribed"]["images"]) == len(found["async"]["images"]) == 2

    assert found["cancelled"] == ["The job was cancelled.", "cancelled"]
    assert found["result of cancelled"] == [400, "The job was cancelled.", "cancelled", True]
    assert found["cancel again"][0] == 400
    assert found["wrong"][:2] == [422, "num_inference_steps: Input should be greater than or equal to 1."]
    assert found["unknown"][0] == 404
    assert (found["foreign id"][0], found["foreign id"][3]) == (404, True)

    headers, body = received.get(timeout=20)
    hooked = json.loads(body)
    assert (hooked["request_id"], hooked["status"]) == (found["hooked"], "OK")
    assert (hooked["payload"]["prompt"], len(hooked["payload"]["images"])) == ("a red fox", 2)
    with gateway.client(key) as client:
        (jwk,) = client.get("/.well-known/jwks.json").json()["keys"]
        Webhook(client.get("/v1/webhooks/key").json()["secret"]).verify(body, headers)
    names = ("request-id", "user-id", "timestamp")
    signed = "\n".join([*(headers[f"x-fal-webhook-{name}"] for name in names), hashlib.sha256(body).hexdigest()])
    signature = bytes.fromhex(headers["x-fal-webhook-signature"])
    raw = base64.urlsafe_b64decode(jwk["x"] + "=")
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed.encode())

    gateway.close()
    log = gateway.log.getvalue()
    assert "/fal/" in log
    for canary in (key, "hunter2", url):
        assert canary not in log
