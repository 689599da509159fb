"""Your own image and video inference platform on Runpod GPUs, declared with Pulumi.

Names are imported when they are first used, so that `import pulumi_visgate` alone loads nothing heavy.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_visgate.account_lookups import (
        get_billing,
        get_billing_output,
        get_delegations,
        get_delegations_output,
        get_endpoint,
        get_endpoint_output,
        get_network_volume,
        get_network_volume_output,
        get_registries,
        get_registries_output,
        get_releases,
        get_releases_output,
        get_template,
        get_template_output,
        get_workers,
        get_workers_output,
    )
    from pulumi_visgate.components._platform_args import InferencePlatformArgs
    from pulumi_visgate.components.artifact_cdn import ArtifactCdn, ArtifactCdnArgs
    from pulumi_visgate.components.gateway import Gateway, GatewayArgs
    from pulumi_visgate.components.geo_routed_cache import GeoRoutedCache, GeoRoutedCacheArgs
    from pulumi_visgate.components.inference_platform import InferencePlatform
    from pulumi_visgate.components.worker_image import WorkerImage, WorkerImageArgs
    from pulumi_visgate.lookups import (
        cheapest_gpu,
        cheapest_gpu_output,
        data_centers,
        data_centers_output,
        get_cpu_types,
        get_cpu_types_output,
        get_data_centers,
        get_data_centers_output,
        get_endpoints,
        get_endpoints_output,
        get_gpu_types,
        get_gpu_types_output,
        get_network_volumes,
        get_network_volumes_output,
        get_templates,
        get_templates_output,
    )
    from pulumi_visgate.resources.account import account_user_hash
    from pulumi_visgate.resources.bucket import Bucket, BucketArgs
    from pulumi_visgate.resources.container_image import ContainerImage, ContainerImageArgs
    from pulumi_visgate.resources.ecr_delegation import EcrDelegation, EcrDelegationArgs
    from pulumi_visgate.resources.endpoint import Endpoint, EndpointArgs
    from pulumi_visgate.resources.local_cdn import LocalCdn, LocalCdnArgs
    from pulumi_visgate.resources.local_schedule import LocalSchedule, LocalScheduleArgs
    from pulumi_visgate.resources.local_service import LocalService, LocalServiceArgs
    from pulumi_visgate.resources.model_cache import ModelCache, ModelCacheArgs
    from pulumi_visgate.resources.network_volume import NetworkVolume, NetworkVolumeArgs
    from pulumi_visgate.resources.registry_auth import RegistryAuth, RegistryAuthArgs
    from pulumi_visgate.resources.signing_key import SigningKey, SigningKeyArgs
    from pulumi_visgate.resources.template import Template, TemplateArgs
    from pulumi_visgate.resources.warm_pool import WarmPool, WarmPoolArgs, WindowArgs
    from visgate_contract.errors import VisgateError

    __version__: str

__all__ = [
    "ArtifactCdn",
    "ArtifactCdnArgs",
    "Bucket",
    "BucketArgs",
    "ContainerImage",
    "ContainerImageArgs",
    "EcrDelegation",
    "EcrDelegationArgs",
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
    "LocalSchedule",
    "LocalScheduleArgs",
    "LocalService",
    "LocalServiceArgs",
    "ModelCache",
    "ModelCacheArgs",
    "NetworkVolume",
    "NetworkVolumeArgs",
    "RegistryAuth",
    "RegistryAuthArgs",
    "SigningKey",
    "SigningKeyArgs",
    "Template",
    "TemplateArgs",
    "VisgateError",
    "WarmPool",
    "WarmPoolArgs",
    "WindowArgs",
    "WorkerImage",
    "WorkerImageArgs",
    "__version__",
    "account_user_hash",
    "cheapest_gpu",
    "cheapest_gpu_output",
    "data_centers",
    "data_centers_output",
    "get_billing",
    "get_billing_output",
    "get_cpu_types",
    "get_cpu_types_output",
    "get_data_centers",
    "get_data_centers_output",
    "get_delegations",
    "get_delegations_output",
    "get_endpoint",
    "get_endpoint_output",
    "get_endpoints",
    "get_endpoints_output",
    "get_gpu_types",
    "get_gpu_types_output",
    "get_network_volume",
    "get_network_volume_output",
    "get_network_volumes",
    "get_network_volumes_output",
    "get_registries",
    "get_registries_output",
    "get_releases",
    "get_releases_output",
    "get_template",
    "get_template_output",
    "get_templates",
    "get_templates_output",
    "get_workers",
    "get_workers_output",
]

_MODULES = {
    "ArtifactCdn": "components.artifact_cdn",
    "Bucket": "resources.bucket",
    "ContainerImage": "resources.container_image",
    "EcrDelegation": "resources.ecr_delegation",
    "Endpoint": "resources.endpoint",
    "Gateway": "components.gateway",
    "GeoRoutedCache": "components.geo_routed_cache",
    "InferencePlatform": "components.inference_platform",
    "LocalCdn": "resources.local_cdn",
    "LocalSchedule": "resources.local_schedule",
    "LocalService": "resources.local_service",
    "ModelCache": "resources.model_cache",
    "NetworkVolume": "resources.network_volume",
    "RegistryAuth": "resources.registry_auth",
    "SigningKey": "resources.signing_key",
    "Template": "resources.template",
    "VisgateError": "errors",
    "WarmPool": "resources.warm_pool",
    "Window": "resources.warm_pool",
    "WorkerImage": "components.worker_image",
    "account_user_hash": "resources.account",
    "cheapest_gpu": "lookups",
    "cheapest_gpu_output": "lookups",
    "data_centers": "lookups",
    "data_centers_output": "lookups",
    "get_billing": "account_lookups",
    "get_billing_output": "account_lookups",
    "get_cpu_types": "lookups",
    "get_cpu_types_output": "lookups",
    "get_data_centers": "lookups",
    "get_data_centers_output": "lookups",
    "get_delegations": "account_lookups",
    "get_delegations_output": "account_lookups",
    "get_endpoint": "account_lookups",
    "get_endpoint_output": "account_lookups",
    "get_endpoints": "lookups",
    "get_endpoints_output": "lookups",
    "get_gpu_types": "lookups",
    "get_gpu_types_output": "lookups",
    "get_network_volume": "account_lookups",
    "get_network_volume_output": "account_lookups",
    "get_network_volumes": "lookups",
    "get_network_volumes_output": "lookups",
    "get_registries": "account_lookups",
    "get_registries_output": "account_lookups",
    "get_releases": "account_lookups",
    "get_releases_output": "account_lookups",
    "get_template": "account_lookups",
    "get_template_output": "account_lookups",
    "get_templates": "lookups",
    "get_templates_output": "lookups",
    "get_workers": "account_lookups",
    "get_workers_output": "account_lookups",
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
