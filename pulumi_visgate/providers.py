"""The names that states refer to: every provider class is pickled as `pulumi_visgate.providers.<name>`.

A state of any release must find its classes here, so a name is never removed or changed. A class is imported when it
is asked for: a provider host loads what its stack has, and no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_visgate.resources.bucket import BucketProvider
    from pulumi_visgate.resources.container_image import ContainerImageProvider
    from pulumi_visgate.resources.ecr_delegation import EcrDelegationProvider
    from pulumi_visgate.resources.endpoint import EndpointProvider
    from pulumi_visgate.resources.local_cdn import LocalCdnProvider
    from pulumi_visgate.resources.local_schedule import LocalScheduleProvider
    from pulumi_visgate.resources.local_service import LocalServiceProvider
    from pulumi_visgate.resources.model_cache import ModelCacheProvider
    from pulumi_visgate.resources.network_volume import NetworkVolumeProvider
    from pulumi_visgate.resources.registry_auth import RegistryAuthProvider
    from pulumi_visgate.resources.signing_key import SigningKeyProvider
    from pulumi_visgate.resources.template import TemplateProvider
    from pulumi_visgate.resources.warm_pool import WarmPoolProvider

__all__ = [
    "BucketProvider",
    "ContainerImageProvider",
    "EcrDelegationProvider",
    "EndpointProvider",
    "LocalCdnProvider",
    "LocalScheduleProvider",
    "LocalServiceProvider",
    "ModelCacheProvider",
    "NetworkVolumeProvider",
    "RegistryAuthProvider",
    "SigningKeyProvider",
    "TemplateProvider",
    "WarmPoolProvider",
]

_MODULES = {
    "BucketProvider": "bucket",
    "ContainerImageProvider": "container_image",
    "EcrDelegationProvider": "ecr_delegation",
    "EndpointProvider": "endpoint",
    "LocalCdnProvider": "local_cdn",
    "LocalScheduleProvider": "local_schedule",
    "LocalServiceProvider": "local_service",
    "ModelCacheProvider": "model_cache",
    "NetworkVolumeProvider": "network_volume",
    "RegistryAuthProvider": "registry_auth",
    "SigningKeyProvider": "signing_key",
    "TemplateProvider": "template",
    "WarmPoolProvider": "warm_pool",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"pulumi_visgate.resources.{module}"), name)
