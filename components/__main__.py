"""Serves the components to the Pulumi engine, so that programs in other languages can use them.

`python components schema` writes `components/schema.json` anew: what the SDKs of other languages are generated from.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

try:
    from pulumi.provider import main
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
# Without it, Go's SDK lacks the structs that only occur in lists of plain values, and does not compile.
GO = {"generateExtraInputTypes": True}
SECRET_INPUTS = (
    "signingKey",
    "previousSigningKey",
    "username",
    "password",
)  # the SDKs then mark what they are given as secret
SCHEMA = Path(__file__).resolve().parent / "schema.json"


def provider() -> ComponentProvider:
    """Return the provider that makes the components, with a schema that every language can use."""
    made = ComponentProvider(COMPONENTS, NAME, NAMESPACE, version("pulumi-visgate"))
    inferred = json.loads(made.schema)
    inferred["language"]["go"] |= GO
    for component in inferred["resources"].values():
        for name in component["inputProperties"].keys() & SECRET_INPUTS:
            component["inputProperties"][name]["secret"] = True
    made.schema = json.dumps(inferred)
    return made


def schema() -> str:
    """Return the schema as `pulumi package get-schema` does, without an engine."""
    return json.dumps(json.loads(provider().schema), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["schema"]:
        SCHEMA.write_text(schema(), encoding="utf-8")
    else:
        main(provider(), sys.argv[1:])
