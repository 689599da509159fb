"""A Pulumi program in Python that declares what an account has; laid out as the usual formatters do."""

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_visgate.resources._export import Exported, NotTaken
from pulumi_visgate.resources._kinds import Kind

_WIDTH = 88
_INDENT = "    "
_TAKEN_NAMES = frozenset({"config", "pulumi", *keyword.kwlist, *keyword.softkwlist, *dir(builtins)})


@dataclass(frozen=True, slots=True)
class Code:
    """An expression that is written as it is.

    Args:
        text: Of the expression.
    """

    text: str


@dataclass
class _Names:
    """Names of the program: variables by id at Runpod."""

    by_id: dict[str, str] = field(default_factory=dict)

    def add(self, id_: str, wanted: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_") or "resource"
        stem = f"_{stem}" if stem[0].isdigit() else stem
        taken = {*self.by_id.values(), *_TAKEN_NAMES}
        free = next(name for number in range(1, len(taken) + 2) if (name := _numbered(stem, number)) not in taken)
        self.by_id[id_] = free
        return free


def program(taken: Sequence[Exported], others: Sequence[NotTaken]) -> str:
    """Return the text of the program.

    Args:
        taken: What it declares, what others refer to before them.
        others: What it cannot own; credentials of registries are named by their ids.
    """
    names = _Names()
    registries = [found for found in others if found.kind is Kind.REGISTRY]
    blocks = [_registries(registries, names)] if registries else []
    blocks += [_declaration(resource, names) for resource in taken]
    classes = sorted({resource.resource.__name__ for resource in taken})
    uses_env = any("env" in resource.args for resource in taken)
    head = ['"""What `visgate import` found in a Runpod account."""\n']
    if uses_env:
        head.append("import pulumi")
    if classes:
        head.append(_imports(classes))
    if uses_env:
        head.append("\nconfig = pulumi.Config()")
    return "\n".join(head) + "\n" + "".join(f"\n{block}\n" for block in blocks)


def env_key(name: str) -> str:
    """Return the key of the stack's configuration that holds the environment of a resource.

    Args:
        name: Of the resource in the program.
    """
    return f"{name}-env"


def _registries(found: Iterable[NotTaken], names: _Names) -> str:
    lines = ["# Runpod never shows the user and password of a registry again, so no program can take these over."]
    lines += [f"{names.add(item.id, f'{item.found_name}_registry_id')} = {_text(item.id)}" for item in found]
    return "\n".join(lines)


def _declaration(resource: Exported, names: _Names) -> str:
    lines = [f"# {remark}" for remark in resource.remarks]
    lines += [f"{_variable(resource, names)} = {resource.resource.__name__}(", f"{_INDENT}{_text(resource.name)},"]
    for name, value in resource.args.items():
        said = value
        if name == "env":
            lines.append(f"{_INDENT}# {', '.join(value)}")
            said = Code(f"config.require_secret_object({_text(env_key(resource.name))})")
        elif name == "registry_id":
            said = Code(names.by_id[value]) if value in names.by_id else value
        elif name == "network_volume_ids":
            said = [Code(f"{names.by_id[id_]}.id") if id_ in names.by_id else id_ for id_ in value]
        lines.append(f"{_INDENT}{name}={_expression(said, _INDENT, len(name) + 2)},")
    return "\n".join([*lines, ")"])


def _variable(resource: Exported, names: _Names) -> str:
    return names.add(resource.id, resource.name)


def _imports(classes: Sequence[str]) -> str:
    line = f"from pulumi_visgate import {', '.join(classes)}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join(["from pulumi_visgate import (", *(f"{_INDENT}{name}," for name in classes), ")"])


def _expression(value: Any, indent: str, used: int) -> str:
    """Return a value in one line where it fits, else item by item.

    Args:
        value: Plain values and `Code`.
        indent: Of the line.
        used: Columns that the line needs besides, its comma included.
    """
    flat = _flat(value)
    if len(indent) + used + len(flat) <= _WIDTH or not isinstance(value, list | Mapping) or not value:
        return flat
    inner = indent + _INDENT
    if isinstance(value, Mapping):
        items = [f"{_text(key)}: {_expression(item, inner, len(_text(key)) + 3)}" for key, item in value.items()]
        opening, closing = "{", "}"
    else:
        items = [_expression(item, inner, 1) for item in value]
        opening, closing = "[", "]"
    return "\n".join([opening, *(f"{inner}{item}," for item in items), f"{indent}{closing}"])


def _flat(value: Any) -> str:
    if isinstance(value, Code):
        return value.text
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)


def _text(value: str) -> str:
    """Return a Python literal in double quotes, or in single ones where that saves escapes."""
    if '"' in value and "'" not in value and value.isprintable() and "\\" not in value:
        return f"'{value}'"
    return '"' + "".join(map(_character, value)) + '"'


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}_{number}"
