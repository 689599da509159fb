"""Images in a private ECR repository, without a password."""

import pulumi

from pulumi_visgate import EcrDelegation

worker = EcrDelegation("worker", repository_arn="arn:aws:ecr:us-east-2:123456789012:repository/acme/worker")
pulumi.export("image", worker.registry_uri.apply(lambda registry: f"{registry}/acme/worker:1"))
