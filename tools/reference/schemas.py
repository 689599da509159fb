"""The fields of a schema as paths, such as `gpu.pools`; for OpenAPI documents and for pydantic's JSON Schemas."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def leaves(schema: Schema, resolve: Callable[[str], Schema]) -> set[str]:
    """Return the paths of all fields that have none inside.

    Args:
        schema: Where to begin.
        resolve: Returns what a `$ref` refers to.
    """
    return {".".join(path) for path in _paths(schema, resolve)}


def _paths(schema: Schema, resolve: Callable[[str], Schema]) -> Iterator[tuple[str, ...]]:
    found = dict(_fields(schema, resolve))
    if not found:
        yield ()
    for name, inside in found.items():
        for path in _paths(inside, resolve):
            yield (name, *path)


def _fields(schema: Schema, resolve: Callable[[str], Schema]) -> Iterator[tuple[str, Schema]]:
    """Yield the fields of an object, of the parts it is made of, or of a list's items."""
    fields: dict[str, list[Schema]] = {}
    for part in _parts(schema, resolve):
        for name, field in part.get("properties", {}).items():
            fields.setdefault(name, []).append(field)
    for name, alternatives in fields.items():
        yield name, {"allOf": alternatives}


def _parts(schema: Schema, resolve: Callable[[str], Schema]) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _parts(resolve(schema["$ref"]), resolve)
    yield schema
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, ()):
            yield from _parts(part, resolve)
    if "items" in schema:
        yield from _parts(schema["items"], resolve)
