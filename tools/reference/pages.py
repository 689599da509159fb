"""The pages of `docs/resources`: one for each resource, and an index with what changes how."""

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pulumi_visgate
from pulumi_visgate.resources._crud import Crud
from pulumi_visgate.resources._provider import VisgateResource
from tools.reference.changes import changes_of, emptied_of
from tools.reference.fields import Effect
from tools.reference.sources import Field, fields_of, summary

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "resources"
EXAMPLES = ROOT / "examples"
WRITTEN = "<!-- Written by `make docs` from the code and `examples/`; change those instead. -->"

_CHANGED = {
    Effect.UPDATE: "in place",
    Effect.REPLACE: "**new resource**",
    Effect.KEEP: "a note",
    Effect.REFUSE: "refused",
}
_EMPTIED = _CHANGED | {Effect.KEEP: "left as it is"}


@dataclass(frozen=True)
class Resource:
    """A resource class with what describes it.

    Args:
        name: Name of the class.
    """

    name: str

    @cached_property
    def cls(self) -> Any:
        """The class."""
        return getattr(pulumi_visgate, self.name)

    @cached_property
    def crud(self) -> type[Crud]:
        """Its rules."""
        module = importlib.import_module(self.cls.__module__)
        rules: type[Crud] = getattr(module, f"{self.name}Provider").crud
        return rules

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of what it takes."""
        return self.crud.model.model_json_schema()

    @property
    def slug(self) -> str:
        """Its name in files."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @cached_property
    def arguments(self) -> dict[str, Field]:
        """What it takes."""
        return fields_of(getattr(pulumi_visgate, f"{self.name}Args"))

    @cached_property
    def outputs(self) -> dict[str, Field]:
        """What it tells besides."""
        return {name: field for name, field in fields_of(self.cls).items() if name not in self.arguments}

    def changes(self, name: str) -> dict[str, Effect]:
        """Return what another value of an argument does, by the kind of change."""
        return changes_of(self.name, self.crud, name)

    def emptied(self, name: str) -> Effect:
        """Return what leaving an argument out again does."""
        return emptied_of(self.name, self.crud, name)


def resources() -> list[Resource]:
    """Return the resources that programs use; those of the local cloud's host are parts of components."""
    public = (getattr(pulumi_visgate, name) for name in pulumi_visgate.__all__ if name[0].isupper())
    found = [item for item in public if isinstance(item, type) and issubclass(item, VisgateResource)]
    return [Resource(item.__name__) for item in found if not item.__name__.startswith("Local")]


@cache
def pages() -> dict[str, str]:
    """Return the text of every page by its file name."""
    all_of = resources()
    return {"README.md": _index(all_of), **{f"{each.slug}.md": _page(each) for each in all_of}}


def _page(resource: Resource) -> str:
    example = (EXAMPLES / f"{resource.slug}.py").read_text(encoding="utf-8")
    args = getattr(pulumi_visgate, f"{resource.name}Args")
    parts = [
        WRITTEN,
        f"# {resource.name}",
        summary(resource.cls),
        f"```python\n{example.rstrip()}\n```",
        "## Arguments",
        summary(args),
        _table(
            ("argument", "type", "default", "allowed", "another value", "left out again", "what it is"),
            (_argument(resource, field) for field in resource.arguments.values()),
        ),
        *_nested(resource),
        "## Outputs",
        "`id`, every argument as it is at the API, and:" if resource.outputs else "`id` and every argument.",
    ]
    if resource.outputs:
        rows = ((f"`{field.name}`", field.type, described(resource, field)) for field in resource.outputs.values())
        parts.append(_table(("output", "type", "what it is"), rows))
    return "\n\n".join(parts) + "\n"


def _argument(resource: Resource, field: Field) -> Sequence[str]:
    model = resource.crud.model
    changed = "; ".join(f"{_CHANGED[effect]} {when}".strip() for when, effect in resource.changes(field.name).items())
    required = model.model_fields[field.name].is_required()
    schema = resource.schema
    kind = field.type + (", in any order" if field.name in resource.crud.unordered else "")
    kind += ", secret" if field.name in resource.crud.secret else ""
    return (
        f"`{field.name}`",
        kind,
        "required" if required else _default(model.model_fields[field.name].get_default(call_default_factory=True)),
        _allowed(schema["properties"][field.name], schema.get("$defs", {})),
        changed,
        "a note" if field.name in resource.crud.notes else _EMPTIED[resource.emptied(field.name)],
        described(resource, field),
    )


def _nested(resource: Resource) -> Iterator[str]:
    classes = {cls.__name__: cls for field in resource.arguments.values() for cls in field.classes}
    for name, cls in classes.items():
        inside = fields_of(cls)
        rows = ((f"`{field.name}`", field.type, described(resource, field)) for field in inside.values())
        yield f"### {name}"
        yield summary(cls)
        yield _table(("key", "type", "what it is"), rows)


def described(resource: Resource, field: Field) -> str:
    """Return what is said of a field.

    Args:
        resource: Where it belongs.
        field: The field.

    Raises:
        ValueError: Nothing is.
    """
    if not field.text:
        message = f"{resource.name}.{field.name} has no description below it"
        raise ValueError(message)
    return field.text


def _default(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(schema: dict[str, Any], types: dict[str, Any]) -> str:
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            return _allowed(types[option["$ref"].rsplit("/", 1)[1]], types)
        if "enum" in option:
            return ", ".join(f"`{value}`" for value in option["enum"])
        if "pattern" in option:
            return f"`{option['pattern']}`".replace("|", "\\|")
        low, high = option.get("minimum"), option.get("maximum")
        if low is not None:
            return f"{low:g} to {high:g}" if high is not None else f"from {low:g}"
    return ""


def _index(all_of: list[Resource]) -> str:
    rows = ((f"[`{each.name}`]({each.slug}.md)", summary(each.cls).partition("\n")[0]) for each in all_of)
    return "\n\n".join([
        WRITTEN,
        "# Resources",
        "Each page has the arguments, outputs and a program that runs. The programs are in `examples/`, too.\n"
        "`LocalService`, `LocalCdn` and `LocalSchedule` are not here: they are what the components are made of in the\n"
        "local cloud, and of no use without its service host.",
        _table(("resource", "what it is"), rows),
        "## What changes in place, and what makes a new resource",
        "Notes are kept in the state alone: they say something about the program, not about the resource.",
        _table(
            ("resource", "changes in place", "makes a new resource", "stays as it is when left out again"),
            map(_changes, all_of),
        ),
        "A new resource has another id. Where it would have the same name, the old one goes first; otherwise the new\n"
        "one is there before the old one goes.",
    ]) + "\n"  # fmt: skip


def _changes(resource: Resource) -> Sequence[str]:
    columns: dict[str, list[str]] = {"place": [], "new": [], "kept": []}
    for name in resource.arguments:
        if name in resource.crud.notes:
            continue
        changes, emptied = resource.changes(name), resource.emptied(name)
        for when, effect in changes.items():
            columns["new" if effect is Effect.REPLACE else "place"].append(f"`{name}` {when}".strip())
        if emptied is Effect.REPLACE and Effect.REPLACE not in changes.values():
            columns["new"].append(f"`{name}` when it is left out again")
        if emptied is Effect.KEEP:
            columns["kept"].append(f"`{name}`")
    return (f"[`{resource.name}`]({resource.slug}.md)", *(", ".join(names) for names in columns.values()))


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines)
