"""The names that states refer to: every provider class is pickled as `pulumi_visgate.providers.<name>`.

A state of any release must find its classes here, so a name is never removed or changed.
"""

from pulumi_visgate.resources.bucket import BucketProvider
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
