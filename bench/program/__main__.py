"""As many endpoints, or no-op resources of the same inputs, as the environment says."""

import os

from bench.no_op import NoOp
from pulumi_visgate import Endpoint

resource = Endpoint if os.environ["BENCH_KIND"] == "endpoints" else NoOp
for index in range(int(os.environ["BENCH_COUNT"])):
    resource(
        f"endpoint-{index:02d}",
        image="ghcr.io/acme/visgate-worker:1.0",
        gpu_pools=["ADA_24"],
        max_workers=1,
        env={"VISGATE_MODEL_ID": "acme/model"},
    )
