"""Every resource and component, each with what most people would give it; the model lies beside the program."""

import pulumi

from pulumi_visgate import (
    ArtifactCdn,
    Bucket,
    EcrDelegation,
    Endpoint,
    Gateway,
    GeoRoutedCache,
    InferencePlatform,
    ModelCache,
    NetworkVolume,
    RegistryAuth,
    SigningKey,
    Template,
    WarmPool,
    WindowArgs,
    WorkerImage,
)

IMAGE = "ghcr.io/acme/worker:1"
OFFICE_HOURS: WindowArgs = {
    "start": "08:00",
    "end": "19:00",
    "days": ["mon", "tue", "wed", "thu", "fri"],
    "timezone": "Europe/Berlin",
    "min_workers": 2,
}

platform = InferencePlatform(
    "visgate",
    {
        "regions": ["EU-RO-1", "US-KS-2"],
        "gpu_pools": ["ADA_24"],
        "image": IMAGE,
        "volume_size_gb": 20,
        "models": [
            {"model_id": "acme/tiny", "source": "model", "tasks": ["text2img", "image2img"], "max_workers": 2},
            {
                "model_id": "acme/other",
                "source": "model",
                "policy": "scheduled_warm",
                "windows": [OFFICE_HOURS],
                "gpu_pools": ["AMPERE_24"],
            },
        ],
        "force_destroy": True,
    },
)
cache = GeoRoutedCache(
    "alone", {"regions": ["EU-SE-1"], "size_gb": 10, "models": [{"model_id": "acme/tiny", "source": "model"}]}
)
cdn = ArtifactCdn("alone", {"force_destroy": True})
image = WorkerImage("alone", {"image": IMAGE})
key = SigningKey("key", rotation="2026")
gateway = Gateway(
    "alone",
    {
        "signing_key": key.value,
        "image": image.ref,
        "gpu_pools": ["ADA_24"],
        "models": [
            {
                "model_id": "acme/tiny",
                "tasks": ["text2img"],
                "policy": "on_demand",
                "network_volume_ids": cache.volume_ids,
            }
        ],
        "bucket": cdn.bucket,
        "cdn_url": cdn.url,
    },
)

auth = RegistryAuth("ghcr", username="acme", password="a-password-of-a-test")
EcrDelegation("ecr", repository_arn="arn:aws:ecr:us-east-2:418399314813:repository/acme/worker")
template = Template("template", image=IMAGE, env={"TOKEN": "a-token-of-a-test"}, registry_id=auth.id, ports=["80/http"])
volume = NetworkVolume("volume", size_gb=10, data_center="US-KS-2", tier="STANDARD")
Endpoint(
    "gpu",
    image=IMAGE,
    gpu_pools=["ADA_24", "AMPERE_24"],
    network_volume_ids=[volume.id],
    env={"TOKEN": "a-token-of-a-test", "N": "5"},
    registry_id=auth.id,
    container_disk_gb=30,
    min_cuda_version="12.4",
    flashboot="FLASHBOOT",
)
Endpoint("cpu", image=IMAGE, cpus=[{"id": "cpu5c", "vcpus": 4}], request_count=4, routing="LOAD_BALANCER")
Endpoint("templated", template_id=template.id, gpu_pools=["AMPERE_24"])
Bucket("public", public_read=True, force_destroy=True)
bucket = Bucket("models", force_destroy=True)
ModelCache("on-volume", model_id="acme/tiny", source="model", volume_id=volume.id, data_center="US-KS-2")
ModelCache("in-bucket", model_id="acme/tiny", source="model", bucket=bucket.name, retain=True)
WarmPool("pool", model_id="acme/tiny", image=IMAGE, gpu_pools=["ADA_24"], policy="always_on", min_workers=1)

pulumi.export("gateway_url", platform.gateway_url)
