"""An image that is built when its files change, and an endpoint that rolls when the image does."""

import pulumi

from pulumi_visgate import ContainerImage, Endpoint

config = pulumi.Config()
image = ContainerImage("image", repository=config.get("repository") or "ghcr.io/acme/worker", context="worker")
endpoint = Endpoint("built", image=image.ref, gpu_pools=["ADA_24"])
pulumi.export("digest", image.digest)
