"""The same platform to try things out: no web ACL, short logs, and nothing of value in it, so it goes as a whole."""

from typing import Any

import pulumi

from stacks import _aws, _config


def main() -> dict[str, pulumi.Output[Any]]:
    """Declare the platform and return its outputs."""
    return _aws.declare(
        _config.read(waf=False, log_retention_days=7, force_destroy=True, reserved_concurrency=0, min_tasks=1)
    )
