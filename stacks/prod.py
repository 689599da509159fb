"""Production in the team's AWS and Runpod accounts; docs/aws.md leads there."""

from typing import Any

import pulumi

from stacks import _aws, _config


def main() -> dict[str, pulumi.Output[Any]]:
    """Declare the platform and return its outputs."""
    return _aws.declare(_config.read())
