"""Runpod's OpenAPI document, read from beside the checkout; it is not ours to keep."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

IN_SCOPE = {"Serverless", "Templates", "Network Volumes", "Registries", "Catalog", "Billing"}
DOCUMENT = Path(
    os.environ.get("RUNPOD_OPENAPI")
    or Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "runpod-v2-openapi.json"
)


@functools.cache
def spec() -> dict[str, Any]:
    """Return the document; the test is skipped where it is absent."""
    if not DOCUMENT.is_file():
        pytest.skip("Runpod's OpenAPI document is not here; RUNPOD_OPENAPI can name it")
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return document


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema refers to."""
    while "$ref" in schema:
        target: Any = spec()
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        schema = target
    return schema
