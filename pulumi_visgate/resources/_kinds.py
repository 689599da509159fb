"""The kinds of things that an account has; light, for the command line."""

from enum import StrEnum


class Kind(StrEnum):
    """What an account has."""

    VOLUME = "volume"
    REGISTRY = "registry"
    TEMPLATE = "template"
    DELEGATION = "delegation"
    ENDPOINT = "endpoint"
