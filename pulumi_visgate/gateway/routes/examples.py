"""Examples of the OpenAPI document: for each operation a body to send, what its path needs, and what it answers.

They tell one story, a job from its submission to its pictures; a test holds each of them to the schemas.
"""

import json
from typing import Any

MODEL = "stabilityai/sdxl-turbo"
GATEWAY = "https://gateway.example.com"
ENDPOINT_ID = "4m7x2k9q"
_ULID = "01k5d8v0c2n4q6s8t0w2y4z6a8"
TASK_ID = f"task_{_ULID}"
JOB_ID = f"job_{ENDPOINT_ID}_0b1c2d3e-u1.{_ULID}_5f0c8b1de6f94f3c5f0c8b1d"
JOB = f"{GATEWAY}/v1/jobs/{JOB_ID}"
TENANT = "3f2a9c0d4b5e6f708192a3b4c5d6e7f8"
PICTURE = f"https://cdn.example.com/9f86d081884c7d65/{TASK_ID}/0.png"
RECEIVER = "https://example.com/webhooks/visgate"
PROMPT = {"prompt": "a red fox in the snow", "width": 512, "height": 512, "seed": 7}

_BEGAN, _ENDED = "2026-11-01T12:00:07Z", "2026-11-01T12:00:09Z"
_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "use": "sig",
    "alg": "EdDSA",
}
_EXPECTED = {"start_s": 14.2, "done_s": 17.0, "samples": 12}
_ARTIFACT = {
    "url": PICTURE,
    "content_type": "image/png",
    "width": 512,
    "height": 512,
    "size_bytes": 402118,
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "seed": 7,
}
_VIEW: dict[str, Any] = {
    "job_id": JOB_ID,
    "task_id": TASK_ID,
    "endpoint_id": ENDPOINT_ID,
    "worker_id": "wk1a2b3c",
    "status": "ready",
    "runpod_status": "COMPLETED",
    "artifacts": [_ARTIFACT],
    "timings": {"load_s": 0.0, "generate_s": 0.61, "encode_s": 0.05, "upload_s": 0.12, "total_s": 0.83},
    "delay_ms": 412,
    "execution_ms": 842,
}
_STOPPED = {
    "job_id": JOB_ID,
    "task_id": TASK_ID,
    "endpoint_id": ENDPOINT_ID,
    "status": "failed",
    "runpod_status": "CANCELLED",
    "error": {"code": "cancelled", "detail": "The job was cancelled.", "hint": "Send it again if you want it."},
}
_AGAIN = {
    "job_id": JOB_ID,
    "task_id": TASK_ID,
    "endpoint_id": ENDPOINT_ID,
    "status": "provisioning",
    "runpod_status": "IN_QUEUE",
}
_DEPLOYMENT = {
    "deployment_id": ENDPOINT_ID,
    "endpoint_id": ENDPOINT_ID,
    "endpoint_url": f"https://api.runpod.ai/v2/{ENDPOINT_ID}",
    "model": MODEL,
    "task": "text2img",
}
_DEPLOYED = {
    **_DEPLOYMENT,
    "task_id": TASK_ID,
    "job_id": JOB_ID,
    "expected": _EXPECTED,
    "links": {"jobs": f"{GATEWAY}/v1/jobs", "logs": f"{GATEWAY}/v1/endpoints/{ENDPOINT_ID}/logs"},
}
_PLACE = {
    "data_center_id": "EU-RO-1",
    "gpu_pool": "ADA_24",
    "possible": True,
    "score": 131.0,
    "stock": "HIGH",
    "fit": "whole",
    "usd_per_hour": 1.1,
    "network_volume_id": "7xk2m9q4",
    "distance_km": 1290.0,
    "reasons": [
        {"term": "cache", "points": 100.0, "detail": "volume 7xk2m9q4 holds the model"},
        {"term": "stock", "points": 31.0, "detail": "HIGH"},
    ],
}
_PREFLIGHT = {
    "ok": True,
    "model": MODEL,
    "task": "text2img",
    "endpoint_id": ENDPOINT_ID,
    "commit": "71153311d3dbb46851df1931d3ca6e939de83304",
    "pipeline": "StableDiffusionXLPipeline",
    "family": "stable-diffusion-xl",
    "tasks": ["image2img", "inpaint", "text2img"],
    "gated": False,
    "download_gb": 6.94,
    "memory": {"whole_gib": 13.0, "by_parts_gib": 10.2},
    "disk": None,
    "gpu_pools": [
        {
            "gpu_pool": "ADA_24",
            "fit": "whole",
            "memory_gb": 24.0,
            "usd_per_hour": 1.1,
            "stock": "HIGH",
            "gpus": [{"gpu_type": "NVIDIA GeForce RTX 4090", "memory_gb": 24.0, "usd_per_hour": 1.1}],
        }
    ],
    "cost": {"usd_per_hour": 1.1, "max_job_usd": 0.29, "ceiling_usd": 0.5},
    "placement": _PLACE,
    "checks": [
        {
            "name": "memory",
            "outcome": "ok",
            "detail": "about 13.0 GiB of GPU memory, 10.2 GiB with one part at a time; ADA_24 holds it.",
            "field": "gpu_pool",
        }
    ],
}
_DELIVERIES = {
    "job_id": JOB_ID,
    "task_id": TASK_ID,
    "delivered": True,
    "deliveries": [
        {
            "webhook_id": f"msg_{_ULID}_ready",
            "type": "job.ready",
            "attempt": 1,
            "sequence": 12,
            "timestamp": _ENDED,
            "delivered_at": _ENDED,
            "tries": 2,
            "detail": "",
        }
    ],
}
_STORED = "https://s3.example.com/artifacts/9f86d081884c7d65/in/3a7bd3e2360a3d29.png?X-Amz-Algorithm=AWS4-HMAC-SHA256"
_FAL = f"{GATEWAY}/fal/{MODEL}/requests/{JOB_ID}"
_FAL_ARGUMENTS = {"prompt": PROMPT["prompt"], "image_size": "square", "num_inference_steps": 4, "seed": 7}
_QUEUED = {
    "request_id": JOB_ID,
    "gateway_request_id": JOB_ID,
    "status": "IN_QUEUE",
    "queue_position": 0,
    "response_url": _FAL,
    "status_url": f"{_FAL}/status",
    "cancel_url": f"{_FAL}/cancel",
}
_EVENT = {
    "type": "job.started",
    "timestamp": _BEGAN,
    "data": {"task_id": TASK_ID, "job_id": JOB_ID, "sequence": 1, "status": "started", "model_id": MODEL},
}
_LINE = {"worker_id": "wk1a2b3c", "source": "container", "line": "step 1 of 4", "ts": _BEGAN}
_LOG = f"retry: 2000\n\nid: {_BEGAN}\nevent: log\ndata: {json.dumps(_LINE)}\n\n"

BODIES: dict[str, Any] = {
    "submit": {"model": MODEL, "input": {"task": "text2img", **PROMPT}, "webhook_url": RECEIVER},
    "deploy": {"model": MODEL, "task": "text2img", "warm_for_s": 600},
    "preflight": {"model": MODEL, "input": {"task": "text2img", **PROMPT}},
    "upload": {"content_type": "image/png", "size_bytes": 402117},
    "replay": {"events": "missed"},
    "completed": {"id": "0b1c2d3e-u1", "status": "FAILED", "error": "the worker has exited"},
    "fal_submit": _FAL_ARGUMENTS,
    "fal_submit_to": _FAL_ARGUMENTS | {"image_url": "https://example.com/fox.png", "strength": 0.6},
    "generate_images": {"model": MODEL, "prompt": PROMPT["prompt"], "n": 1, "size": "512x512"},
}
"""What is sent, by operation."""

PARAMETERS: dict[str, Any] = {
    "job_id": JOB_ID,
    "request_id": JOB_ID,
    "endpoint_id": ENDPOINT_ID,
    "deployment_id": ENDPOINT_ID,
    "tenant": TENANT,
    "token": "bm9uY2VzIGFyZSB0d2VsdmUgYnl0ZXM",
    "owner": MODEL.partition("/")[0],
    "alias": MODEL.partition("/")[2],
    "task": "image-to-image",
}
"""What stands in paths, by name."""

ANSWERS: dict[str, dict[str, Any]] = {
    "submit": {
        "202": {
            "status": "accepted_cold",
            "task_id": TASK_ID,
            "job_id": JOB_ID,
            "endpoint_id": ENDPOINT_ID,
            "model": MODEL,
            "task": "text2img",
            "expected": _EXPECTED,
            "links": {"self": JOB, **{name: f"{JOB}/{name}" for name in ("events", "logs", "cancel", "retry")}},
        }
    },
    "show": {"200": _VIEW},
    "cancel": {"200": _STOPPED},
    "retry": {"200": _AGAIN},
    "events": {"200": f"retry: 2000\n\nid: 1\nevent: job.started\ndata: {json.dumps(_EVENT)}\n\n"},
    "job_logs": {"200": _LOG},
    "endpoint_logs": {"200": _LOG},
    "deploy": {"200": {**_DEPLOYED, "status": "warm_ready"}, "202": {**_DEPLOYED, "status": "accepted_cold"}},
    "list_deployments": {
        "200": {
            "deployments": [
                {
                    **_DEPLOYMENT,
                    "name": "visgate-9f86d081884c7d65-text2img-od-5d41402a",
                    "policy": "on_demand",
                    "managed_by": "gateway",
                    "workers_min": 0,
                    "workers_max": 2,
                    "data_center_ids": ["EU-RO-1"],
                    "created_at": "2026-11-01T11:59:40Z",
                }
            ]
        }
    },
    "preflight": {"200": _PREFLIGHT},
    "placements": {"200": {"model": MODEL, "task": "text2img", "near": "DE", "placements": [_PLACE]}},
    "upload": {
        "201": {
            "put_url": f"{_STORED}&X-Amz-Expires=900&X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost&…",
            "headers": {"Content-Type": "image/png", "Content-Length": "402117"},
            "url": f"{_STORED}&X-Amz-Expires=90000&X-Amz-SignedHeaders=host&…",
            "put_until": "2026-11-01T12:15:00Z",
            "good_until": "2026-11-02T13:00:00Z",
        }
    },
    "webhook_key": {
        "200": {
            "secret": "whsec_…",
            "public_key": "whpk_…",
            "jwks_url": f"{GATEWAY}/v1/webhooks/{TENANT}/jwks.json",
        }
    },
    "webhook_keys": {"200": {"keys": [_KEY]}},
    "deliveries": {"200": _DELIVERIES},
    "replay": {"200": _DELIVERIES},
    "models": {
        "200": {
            "models": [
                {"model": MODEL, "revision": None, "tasks": ["text2img", "image2img"], "policy": "scheduled_warm"}
            ]
        }
    },
    "jwks": {"200": {"keys": [_KEY]}},
    "healthz": {"200": {"status": "ok"}},
    "readyz": {"200": {"status": "ready"}},
    "metrics": {"200": 'visgate_accepted_total{kind="job",warmth="warm_ready"} 1027.0\n'},
    "completed": {"200": {"outcome": "delivered"}},
    "fal_submit": {"200": _QUEUED},
    "fal_submit_to": {"200": _QUEUED},
    "fal_status": {
        "200": {"status": "COMPLETED", "request_id": JOB_ID, "logs": None, "metrics": {"inference_time": 0.61}},
        "202": {"status": "IN_QUEUE", "request_id": JOB_ID, "queue_position": 0},
    },
    "fal_result": {
        "200": {
            "images": [
                {
                    "url": PICTURE,
                    "content_type": "image/png",
                    "file_name": "0.png",
                    "file_size": 402118,
                    "width": 512,
                    "height": 512,
                }
            ],
            "seed": 7,
            "timings": {"inference": 0.61},
            "prompt": PROMPT["prompt"],
        }
    },
    "fal_cancel": {"202": {"status": "CANCELLATION_REQUESTED"}, "400": {"status": "ALREADY_COMPLETED"}},
    "generate_images": {"200": {"created": 1793534409, "data": [{"url": PICTURE}]}},
}
"""What is answered, by operation and status; problems have examples of their own."""


def add_to(document: dict[str, Any]) -> None:
    """Put the examples into an OpenAPI document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            name = operation["operationId"]
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in PARAMETERS:
                    parameter["example"] = PARAMETERS[parameter["name"]]
            if name in BODIES and "requestBody" in operation:
                _show(operation["requestBody"], BODIES[name])
            for status, answer in ANSWERS.get(name, {}).items():
                _show(operation["responses"][status], answer)


def _show(described: dict[str, Any], example: Any) -> None:
    for content in described.get("content", {}).values():
        content["example"] = example
