"""The platform on the laptop's cloud: emulated Runpod, own S3 server, CDN route and gateway process."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pulumi

from pulumi_visgate import InferencePlatform, VisgateError

PROJECT = Path(__file__).resolve().parent.parent
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main() -> dict[str, pulumi.Output[object]]:
    """Declare the platform and return its outputs."""
    if urlsplit(os.environ.get("RUNPOD_API_URL", "")).hostname not in LOOPBACK:
        message = (
            "Stack local runs on the local cloud only, and RUNPOD_API_URL does not point to it. "
            "Run `visgate local up` and `. .visgate/env`."
        )
        raise pulumi.RunError(message)
    config = pulumi.Config("visgate")
    home = Path(os.environ.get("VISGATE_HOME") or PROJECT / ".visgate")
    model = config.get("model") or "visgate/tiny-sd"
    source = os.environ.get("VISGATE_MODEL_SOURCE") or config.get("modelSource") or str(home / "models" / model)
    try:
        platform = InferencePlatform(
            "visgate",
            {
                "regions": [config.get("region") or "EU-RO-1"],
                "gpu_pools": [config.get("gpuPool") or "ADA_24"],
                "volume_size_gb": config.get_int("volumeSizeGb") or 10,
                "models": [
                    {
                        "model_id": model,
                        "source": str(PROJECT / source),
                        "policy": config.get("poolPolicy") or "on_demand",
                        "max_workers": config.get_int("maxWorkers") or 2,
                        "idle_timeout_s": config.get_int("idleTimeoutS") or 60,
                    }
                ],
                "force_destroy": True,  # so nothing is retained either: `make down` leaves an empty account
            },
        )
    except VisgateError as error:
        raise pulumi.RunError(str(error)) from None
    return {
        "gateway_url": platform.gateway_url,
        "cdn_url": platform.cdn_url,
        "bucket": platform.bucket,
        "pools": platform.pools,
        "hourly_floor_usd": platform.hourly_floor_usd,
        "hourly_ceiling_usd": platform.hourly_ceiling_usd,
    }
