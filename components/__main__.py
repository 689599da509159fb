"""Serves the components to the Pulumi engine, so that programs in other languages can use them."""

from importlib.metadata import version

from pulumi.provider.experimental import component_provider_host

from pulumi_visgate.components.artifact_cdn import ArtifactCdn
from pulumi_visgate.components.gateway import Gateway
from pulumi_visgate.components.geo_routed_cache import GeoRoutedCache
from pulumi_visgate.components.inference_platform import InferencePlatform
from pulumi_visgate.components.worker_image import WorkerImage

if __name__ == "__main__":
    # Without the namespace, the generated Python SDK would shadow this library.
    component_provider_host(
        name="visgate",
        namespace="visgate-dev",
        version=version("pulumi-visgate"),
        components=[ArtifactCdn, Gateway, GeoRoutedCache, InferencePlatform, WorkerImage],
    )
