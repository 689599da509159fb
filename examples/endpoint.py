"""A queue on two kinds of GPU without the slowest card, and a load balancer on CPUs."""

import pulumi

from pulumi_visgate import Endpoint, NetworkVolume

weights = NetworkVolume("weights", size_gb=50, data_center="EU-RO-1")
painter = Endpoint(
    "painter",
    image="ghcr.io/acme/painter:1",
    gpu_pools=["ADA_24", "AMPERE_24"],
    excluded_gpu_types=["NVIDIA L4"],
    min_cuda_version="12.4",
    max_workers=5,
    idle_timeout_s=30,
    flashboot="FLASHBOOT",
    env={"STEPS": "4"},
    network_volume_ids=[weights.id],
)
thumbnails = Endpoint(
    "thumbnails",
    image="ghcr.io/acme/thumbnails:1",
    cpus=[{"id": "cpu5c", "vcpus": 2}],
    routing="LOAD_BALANCER",
    request_count=20,
    env={"PORT": "8000", "PORT_HEALTH": "8000"},
)
pulumi.export("painter", painter.run_url)
pulumi.export("thumbnails", thumbnails.request_urls["base"])
