"""Previews as the engine writes them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pulumi_visgate.preview.digest import parse_digest
from pulumi_visgate.preview.plan import Plan, make_plan

OWN = "pulumi-python:dynamic/visgate:"
ROOT = {"op": "same", "urn": "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev", "oldState": {"custom": False}}


def step(
    op: str,
    kind: str,
    name: str = "it",
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One step; `state` goes into both states."""
    type_token = kind if ":" in kind else OWN + kind
    found: dict[str, Any] = {"op": op, "urn": f"urn:pulumi:dev::shop::{type_token}::{name}", **more}
    for key, inputs in (("oldState", old), ("newState", new)):
        if inputs is not None:
            found[key] = {"type": type_token, "custom": True, "inputs": inputs, **(state or {})}
    return found


def document(*steps: dict[str, Any], **more: Any) -> str:
    """Return what the engine prints."""
    every = [ROOT, *steps]
    counts = {"same": sum(item["op"] == "same" for item in every)}
    return json.dumps({"steps": every, "changeSummary": counts, **more})


MakePlan = Callable[..., Plan]


@pytest.fixture
def plan_of() -> MakePlan:
    """Make a plan of steps."""

    def made(*steps: dict[str, Any], violations: tuple[Any, ...] = (), **more: Any) -> Plan:
        return make_plan(parse_digest(document(*steps, **more)), violations)

    return made
