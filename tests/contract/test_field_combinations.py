"""Whatever is set or left out: after `up` and a refresh, a preview finds nothing to do, however untidy the answers."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.account import Account, account
from tools.reference.fields import BASES, OWNER, TABLE

__all__ = ["account"]
pytestmark = pytest.mark.contract

Program = dict[str, Any]
EXAMPLES = 60

_ENV = st.dictionaries(
    st.sampled_from(["A", "PORT", "PORT_HEALTH", "SHARED", "T"]), st.sampled_from(["", "1", "two words"]), max_size=4
)


def options(resource: str, *left_out: str) -> st.SearchStrategy[Program]:
    """Every optional input, set to one of the values of its rows or left out."""
    values: dict[str, list[Any]] = {}
    for row in TABLE[resource]:
        if row.input not in left_out:
            values.setdefault(row.input, []).extend((row.value, row.other))
    drawn: dict[str, st.SearchStrategy[Any]] = {name: st.sampled_from(found) for name, found in values.items()}
    if "env" in drawn:
        drawn["env"] = _ENV
    required = {name: drawn.pop(name) for name in BASES[resource] if name in drawn}
    fixed = {**BASES[resource], "owner": OWNER}
    return st.fixed_dictionaries(required, optional=drawn).map(lambda program: fixed | program)


def consistent_endpoint(program: Program) -> Program:
    """Take out what the library refuses together."""
    if program.get("cpus"):
        for name in ("gpu_pools", "excluded_gpu_types", "gpus_per_worker"):
            program.pop(name, None)
    else:
        program["gpu_pools"] = ["AMPERE_24", *(pool for pool in program["gpu_pools"] if pool != "AMPERE_24")]
    if program.get("cpus") or program.get("min_cuda_version"):
        program.pop("allowed_cuda_versions", None)
    if program.get("cpus"):
        program.pop("min_cuda_version", None)
    if program.get("routing") == "LOAD_BALANCER":
        program.setdefault("request_count", 2)
    if program.get("request_count"):
        program.pop("queue_delay_s", None)
        if program.get("routing") != "LOAD_BALANCER":
            program.pop("idle_timeout_s", None)
    if program.get("template_id") and "ports" not in program:
        program.pop("image", None)
    if "network_volume_ids" in program:
        program["data_center_ids"] = ["US-KS-2", "EU-RO-1"]
    return program


def consistent_pool(program: Program) -> Program:
    """The same for pools."""
    policy = program.get("policy", "on_demand")
    if policy == "scheduled_warm":
        program.setdefault("windows", [{"start": "00:00", "end": "12:00", "timezone": "Asia/Tokyo"}])
    else:
        program.pop("windows", None)
    if policy == "on_demand":
        program.pop("min_workers", None)
    return consistent_endpoint(program)


def consistent_template(program: Program) -> Program:
    """A public template shows no environment."""
    if program.get("public"):
        program.pop("env", None)
    return program


PROGRAMS: dict[str, tuple[st.SearchStrategy[Program], Callable[[Program], Program]]] = {
    "Endpoint": (options("Endpoint"), consistent_endpoint),
    "WarmPool": (options("WarmPool"), consistent_pool),
    "Template": (options("Template"), consistent_template),
    "NetworkVolume": (options("NetworkVolume"), dict),
    "RegistryAuth": (options("RegistryAuth"), dict),
    "EcrDelegation": (options("EcrDelegation"), dict),
}


@pytest.mark.parametrize("resource", PROGRAMS)
def test_up_refresh_preview_is_empty_for_any_inputs_and_after_any_change(account: Account, resource: str) -> None:
    drawn, consistent = PROGRAMS[resource]
    programs = drawn.map(consistent)

    @settings(derandomize=True, max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(before=programs, after=programs)
    def check(before: Program, after: Program) -> None:
        try:
            id_, outs = account.create(resource, before)
            outs = account.refreshed(resource, id_, outs, before)
            crud = account.crud(resource)
            wanted = account.checked(resource, after, outs)
            change = crud.diff(outs, wanted)
            if change.replaces:
                crud.delete(id_, outs)
                id_, outs = account.crud(resource).create(wanted)
            elif change.changed:
                outs = crud.update(id_, outs, wanted)
            account.refreshed(resource, id_, outs, after)
        finally:
            account.clear(resource)

    check()
