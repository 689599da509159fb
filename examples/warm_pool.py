"""Two workers for SDXL Turbo in office hours, none at night."""

import pulumi

from pulumi_visgate import WarmPool

turbo = WarmPool(
    "turbo",
    model_id="stabilityai/sdxl-turbo",
    image="ghcr.io/acme/visgate-worker:1",
    gpu_pools=["ADA_24", "AMPERE_24"],
    policy="scheduled_warm",
    windows=[
        {
            "start": "08:00",
            "end": "19:00",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "timezone": "Europe/Berlin",
            "min_workers": 2,
        }
    ],
)
pulumi.export("turbo", turbo.id)
pulumi.export("next_transition", turbo.next_transition)
