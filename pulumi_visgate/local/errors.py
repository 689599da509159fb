"""Errors of the local cloud.

VisgateError
└── LocalCloudError      a part of the local cloud cannot be started, reached or stopped
    └── NotRunningError  the local cloud was never started here, or has been stopped
"""

from pulumi_visgate.errors import VisgateError


class LocalCloudError(VisgateError):
    """A part of the local cloud cannot be started, reached or stopped."""


class NotRunningError(LocalCloudError):
    """The local cloud was never started here, or has been stopped."""
