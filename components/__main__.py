"""Serves the components to the Pulumi engine, so that programs in other languages can use them.

`python components schema` writes `components/schema.json` anew: what the SDKs of other languages are generated from.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

try:
    from pulumi.provider.experimental import component_provider_host
    from pulumi.provider.experimental.component import ComponentProvider

    from pulumi_visgate.components.artifact_cdn import ArtifactCdn
    from pulumi_visgate.components.gateway import Gateway
    from pulumi_visgate.components.geo_routed_cache import GeoRoutedCache
    from pulumi_visgate.components.inference_platform import InferencePlatform
    from pulumi_visgate.components.worker_image import WorkerImage
except ModuleNotFoundError as missing:
    sys.exit(
        f"visgate: {sys.executable} has no {missing.name}. The components and their resources run in the Python "
        "that the engine finds: install pulumi-visgate there, or set PULUMI_PYTHON_CMD to a Python that has it."
    )

NAME = "visgate"
NAMESPACE = "visgate-dev"  # without it, the generated Python SDK would shadow this library
COMPONENTS = [ArtifactCdn, Gateway, GeoRoutedCache, InferencePlatform, WorkerImage]
SCHEMA = Path(__file__).resolve().parent / "schema.json"


def schema() -> str:
    """Return the schema as `pulumi package get-schema` does, without an engine."""
    found = ComponentProvider(COMPONENTS, NAME, NAMESPACE, version("pulumi-visgate")).schema
    return json.dumps(json.loads(found), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["schema"]:
        SCHEMA.write_text(schema(), encoding="utf-8")
    else:
        component_provider_host(
            name=NAME, namespace=NAMESPACE, version=version("pulumi-visgate"), components=COMPONENTS
        )
