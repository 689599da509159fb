"""The password of a private registry, from the stack's secret settings, and an endpoint that pulls with it.

Set it first: `pulumi config set --secret registryToken`.
"""

import pulumi

from pulumi_visgate import Endpoint, RegistryAuth

registry = RegistryAuth("ghcr", username="acme-bot", password=pulumi.Config().require_secret("registryToken"))
private = Endpoint("private", image="ghcr.io/acme/private:1", gpu_pools=["ADA_24"], registry_id=registry.id)
pulumi.export("private", private.id)
