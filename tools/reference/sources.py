"""What the source of a class says of its fields: their annotations and the texts below them."""

import ast
import inspect
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

_WRAPPERS = {"Input", "Output", "Required", "NotRequired"}
_CONTAINERS = {"Sequence": "list of", "list": "list of", "Mapping": "map of", "dict": "map of"}


@dataclass(frozen=True)
class Field:
    """One annotated name of a class.

    Args:
        name: The name.
        annotation: Its annotation.
        text: What is said below it, on one line; empty when nothing is.
        module: Where its class is.
    """

    name: str
    annotation: ast.expr
    text: str
    module: str

    @property
    def type(self) -> str:
        """Its type in words."""
        return _words(self.annotation)

    @property
    def classes(self) -> list[Any]:
        """The classes of this library that its type is made of."""
        found = (getattr(sys.modules[self.module], name, None) for name in _names(self.annotation))
        return [item for item in found if isinstance(item, type) and item.__module__.startswith("pulumi_visgate")]


def fields_of(cls: Any) -> dict[str, Field]:
    """Return the annotated names of a class, its own before those of its bases.

    Args:
        cls: A class of this library.
    """
    found: dict[str, Field] = {}
    for each in (cls, *_bases(cls)):
        for name, field in _own_fields(each).items():
            found.setdefault(name, field)
    return found


def summary(cls: Any) -> str:
    """Return the docstring of a class, without its arguments."""
    return (inspect.getdoc(cls) or "").partition("\n\nArgs:")[0].strip()


def _bases(cls: Any) -> list[Any]:
    # A TypedDict forgets its bases, so they are looked up by the names in its source.
    module = sys.modules[cls.__module__]
    found = [getattr(module, base.id, None) for base in _node(cls).bases if isinstance(base, ast.Name)]
    direct = [base for base in found if getattr(base, "__module__", "").startswith("pulumi_visgate")]
    return [each for base in direct for each in (base, *_bases(base))]


def _own_fields(cls: Any) -> dict[str, Field]:
    body = _node(cls).body
    found = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            found[name] = Field(name, statement.annotation, _text(following), cls.__module__)
    return found


def _node(cls: Any) -> ast.ClassDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    if not isinstance(node, ast.ClassDef):
        message = f"{cls!r} is no class"
        raise TypeError(message)
    return node


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        name = _name(node.value)
        if name in _WRAPPERS:
            return _words(node.slice)
        inside = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
        return f"{_CONTAINERS[name]} {_words(inside)}"
    if isinstance(node, ast.BinOp):
        return _words(node.left)
    return _name(node)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)


def _names(node: ast.expr) -> list[str]:
    return [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
