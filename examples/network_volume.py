"""Fast storage beside the GPUs, which stays when the stack goes."""

import pulumi

from pulumi_visgate import NetworkVolume

datasets = NetworkVolume(
    "datasets",
    pulumi.ResourceOptions(retain_on_delete=True),
    size_gb=100,
    data_center="US-KS-2",
    tier="HIGH_PERFORMANCE",
)
pulumi.export("datasets", datasets.id)
