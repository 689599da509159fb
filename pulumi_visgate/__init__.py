"""Your own image and video inference platform on Runpod GPUs, declared with Pulumi.

Names are imported when they are first used, so that `import pulumi_visgate` alone loads nothing heavy.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_visgate.components.artifact_cdn import ArtifactCdn, ArtifactCdnArgs
    from pulumi_visgate.components.gateway import Gateway, GatewayArgs
    from pulumi_visgate.components.geo_routed_cache import GeoRoutedCache, GeoRoutedCacheArgs
    from pulumi_visgate.components.inference_platform import InferencePlatform, InferencePlatformArgs
    from pulumi_visgate.components.worker_image import WorkerImage, WorkerImageArgs
    from pulumi_visgate.resources.account import account_user_hash
    from pulumi_visgate.resources.bucket import Bucket, BucketArgs
    from pulumi_visgate.resources.endpoint import Endpoint, EndpointArgs
    from pulumi_visgate.resources.local_cdn import LocalCdn, LocalCdnArgs
    from pulumi_visgate.resources.local_service import LocalService, LocalServiceArgs
    from pulumi_visgate.resources.model_cache import ModelCache, ModelCacheArgs
    from pulumi_visgate.resources.network_volume import NetworkVolume, NetworkVolumeArgs
    from pulumi_visgate.resources.signing_key import SigningKey, SigningKeyArgs
    from pulumi_visgate.resources.template import Template, TemplateArgs
    from pulumi_visgate.resources.warm_pool import WarmPool, WarmPoolArgs
    from visgate_contract.errors import VisgateError

    __version__: str

__all__ = [
    "ArtifactCdn",
    "ArtifactCdnArgs",
    "Bucket",
    "BucketArgs",
    "Endpoint",
    "EndpointArgs",
    "Gateway",
    "GatewayArgs",
    "GeoRoutedCache",
    "GeoRoutedCacheArgs",
    "InferencePlatform",
    "InferencePlatformArgs",
    "LocalCdn",
    "LocalCdnArgs",
    "LocalService",
    "LocalServiceArgs",
    "ModelCache",
    "ModelCacheArgs",
    "NetworkVolume",
    "NetworkVolumeArgs",
    "SigningKey",
    "SigningKeyArgs",
    "Template",
    "TemplateArgs",
    "VisgateError",
    "WarmPool",
    "WarmPoolArgs",
    "WorkerImage",
    "WorkerImageArgs",
    "__version__",
    "account_user_hash",
]

_MODULES = {
    "ArtifactCdn": "components.artifact_cdn",
    "Bucket": "resources.bucket",
    "Endpoint": "resources.endpoint",
    "Gateway": "components.gateway",
    "GeoRoutedCache": "components.geo_routed_cache",
    "InferencePlatform": "components.inference_platform",
    "LocalCdn": "resources.local_cdn",
    "LocalService": "resources.local_service",
    "ModelCache": "resources.model_cache",
    "NetworkVolume": "resources.network_volume",
    "SigningKey": "resources.signing_key",
    "Template": "resources.template",
    "VisgateError": "errors",
    "WarmPool": "resources.warm_pool",
    "WorkerImage": "components.worker_image",
    "account_user_hash": "resources.account",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("pulumi-visgate")
    module = _MODULES.get(name.removesuffix("Args"))
    if module is None or name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
