"""The root of this library's errors; each layer draws its own tree below it.

VisgateError (from visgate_contract)
├── RunpodError      pulumi_visgate.runpod.errors
└── …
"""

from visgate_contract.errors import ErrorCode, VisgateError

__all__ = ["ErrorCode", "VisgateError"]
