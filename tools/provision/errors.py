"""Why a tool could not be had. Imports nothing."""


class ProvisionError(Exception):
    """One way of getting a tool did not work; the message is a phrase that fits inside a sentence."""


class UnusableCacheError(ProvisionError):
    """The cache folder cannot be written, so no way that installs can work."""
