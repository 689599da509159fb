"""What a preview means."""

from typing import Any

import pytest

from pulumi_visgate.preview.digest import Violation, parse_digest
from pulumi_visgate.preview.plan import Action, Message, kind_of, make_plan
from tests.unit.preview.conftest import ROOT, MakePlan, document, step

VOLUME = {"size_gb": 20, "hourly_floor_usd": 0.002, "hourly_ceiling_usd": 0.002}
POOL = {"max_workers": 3, "hourly_floor_usd": 0.5, "hourly_ceiling_usd": 1.5}


def test_counts_leave_out_the_stack_its_providers_and_components(plan_of: MakePlan) -> None:
    plan = plan_of(
        step("create", "Endpoint", "a", new=POOL),
        step("create", "Endpoint", "b", new=POOL),
        step("import", "Template", "t", new={}),
        step("create", "visgate:index:Platform", "p", new={}, state={"custom": False}),
        step("create", "pulumi:providers:aws", "default", new={}),
        step("same", "NetworkVolume", "v", old=VOLUME, new=VOLUME),
        step("read", "NetworkVolume", "theirs", new=VOLUME, state={"external": True}),
    )
    assert plan.counts == {Action.IMPORT: 1, Action.CREATE: 2}
    assert plan.unchanged == 1
    assert (plan.project, plan.stack) == ("shop", "dev")
    assert [change.component for change in plan.changes if change.kind == "visgate:Platform"] == [True]


def test_the_worst_comes_first(plan_of: MakePlan) -> None:
    plan = plan_of(
        step("create", "Endpoint", "new", new=POOL),
        step("update", "Endpoint", "changed", old=POOL, new=POOL | {"max_workers": 5}),
        step("delete", "Endpoint", "old", old=POOL),
        step("replace", "NetworkVolume", "moved", old=VOLUME, new=VOLUME, replaceReasons=["data_center"]),
    )
    assert [change.name for change in plan.changes] == ["moved", "old", "changed", "new"]


def test_the_money_of_the_whole_stack(plan_of: MakePlan) -> None:
    dear = POOL | {"hourly_floor_usd": 1.0, "hourly_ceiling_usd": 5.0}
    plan = plan_of(
        step("same", "NetworkVolume", "kept", old=VOLUME, new=VOLUME),
        step("update", "Endpoint", "changed", old=POOL, new=dear),
        step("delete", "NetworkVolume", "gone", old=VOLUME),
        step("replace", "NetworkVolume", "moved", old=VOLUME, new=VOLUME),
        step("create-replacement", "NetworkVolume", "moved", new=VOLUME),
        step("delete-replaced", "NetworkVolume", "moved", old=VOLUME, state={"delete": True}),
    )
    assert plan.before.price.floor == pytest.approx(0.506)
    assert plan.after.price.floor == pytest.approx(1.004)
    assert plan.added.floor == pytest.approx(0.498)
    assert plan.added.ceiling == pytest.approx(3.498)
    assert plan.whole


def test_sums_without_the_unchanged_resources_are_not_those_of_the_stack(plan_of: MakePlan) -> None:
    assert not plan_of(step("create", "Endpoint", new=POOL), changeSummary={"same": 4, "create": 1}).whole


def test_an_unchanged_resource_of_unknown_price_leaves_the_difference_known(plan_of: MakePlan) -> None:
    plan = plan_of(
        step("same", "NetworkVolume", "early", old={"size_gb": 10}, new={"size_gb": 10}),
        step("create", "NetworkVolume", "v", new=VOLUME),
    )
    assert plan.after.unknown == ("early",)
    assert plan.added.floor == pytest.approx(0.002)


LOSSES: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    ("delete", "NetworkVolume", {}, {}, "deleted with everything on it"),
    ("replace", "NetworkVolume", {}, {}, "a new, empty one takes its place"),
    ("delete", "NetworkVolume", {}, {"retainOnDelete": True}, "stays where it is"),
    ("delete", "NetworkVolume", {"adopted": True}, {}, "stays where it is"),
    ("delete", "NetworkVolume", {"adopted": True, "delete_data": True}, {}, "deleted with everything on it"),
    ("delete", "Bucket", {"force_destroy": True}, {}, "with every object in it"),
    ("delete", "Bucket", {}, {}, "fails while there are objects in it"),
    ("replace", "aws:s3/bucketV2:BucketV2", {"forceDestroy": True}, {}, "with every object in it; a new"),
    ("delete", "ModelCache", {}, {}, "files are deleted"),
    ("delete", "ModelCache", {"retain": True}, {}, ""),
    ("delete", "aws:s3/bucketPolicy:BucketPolicy", {}, {}, ""),
    ("delete", "Endpoint", {}, {}, ""),
    ("update", "NetworkVolume", {}, {}, ""),
]


@pytest.mark.parametrize(("op", "kind", "values", "state", "words"), LOSSES)
def test_data_at_stake_is_named(op: str, kind: str, values: dict[str, Any], state: dict[str, Any], words: str) -> None:
    new = None if op == "delete" else values
    (change,) = make_plan(parse_digest(document(step(op, kind, old=values, new=new, state=state)))).changes
    assert words in change.loss
    assert bool(change.loss) == bool(words)


def test_what_a_refresh_found_is_apart_from_what_the_program_changes(plan_of: MakePlan) -> None:
    now = VOLUME | {"size_gb": 35}
    plan = plan_of(
        step("refresh", "NetworkVolume", "grown", old=VOLUME, new=VOLUME),
        step("refresh", "NetworkVolume", "gone", old=VOLUME, new=VOLUME),
        step("refresh", "NetworkVolume", "same", old=VOLUME, new=VOLUME),
        step("refresh", "NetworkVolume", "forgotten", old=VOLUME, new=VOLUME),
        step("replace", "NetworkVolume", "grown", old=now, new=VOLUME, replaceReasons=["size_gb"]),
        step("create", "NetworkVolume", "gone", new=VOLUME),
        step("same", "NetworkVolume", "same", old=VOLUME, new=VOLUME),
    )
    assert [(drift.name, drift.gone) for drift in plan.drifts] == [
        ("grown", False),
        ("gone", True),
        ("forgotten", True),
    ]
    assert plan.drifts[0].properties[0].new == "35"
    assert plan.counts == {Action.CREATE: 1, Action.REPLACE: 1}
    assert plan.before.price.floor == pytest.approx(0.004)


def test_a_leftover_of_an_earlier_replacement_is_a_deletion_of_its_own(plan_of: MakePlan) -> None:
    plan = plan_of(
        step("same", "NetworkVolume", "v", old=VOLUME, new=VOLUME),
        step("delete", "NetworkVolume", "v", old=VOLUME, state={"delete": True}),
    )
    assert plan.counts == {Action.DELETE: 1}
    assert plan.unchanged == 1


def test_what_was_said_is_told_once_and_without_the_engines_own_noise(plan_of: MakePlan) -> None:
    said = [
        {"severity": "warning", "message": "warning: EU-RO-1 has no stock\n", "urn": step("same", "Endpoint")["urn"]},
        {"severity": "warning", "message": "warning: EU-RO-1 has no stock\n", "urn": step("same", "Endpoint")["urn"]},
        {"severity": "warning", "message": "warning: using pulumi-analyzer-policy-visgate from $PATH at /bin/x\n"},
        {"severity": "info", "message": "hello"},
        {"severity": "info#err", "message": "hello"},
        {"severity": "error", "message": "error: no quota\n", "urn": ROOT["urn"]},
        {"severity": "error", "message": "error: preview failed\n"},
    ]
    plan = plan_of(diagnostics=said)
    assert plan.warnings == (Message("EU-RO-1 has no stock", "it"),)
    assert plan.errors == (Message("no quota"),)
    assert plan.failed


def test_a_mandatory_violation_fails_and_an_advisory_one_does_not(plan_of: MakePlan) -> None:
    advisory = Violation(policy_name="a", message="m")
    mandatory = Violation(policy_name="b", message="m", enforcement_level="mandatory")
    failed = [{"severity": "error", "message": "error: preview failed\n"}]
    assert not plan_of(violations=(advisory,)).failed
    plan = plan_of(violations=(advisory, mandatory), diagnostics=failed)
    assert plan.failed
    assert plan.errors == ()
    assert [found.policy_name for found in plan.violations] == ["b", "a"]
    assert plan_of(diagnostics=failed).errors == (Message("preview failed"),)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("pulumi-python:dynamic/visgate:WarmPool", "WarmPool"),
        ("aws:s3/bucketV2:BucketV2", "aws:BucketV2"),
        ("visgate:index:InferencePlatform", "visgate:InferencePlatform"),
        ("odd", "odd"),
    ],
)
def test_kinds(token: str, kind: str) -> None:
    assert kind_of(token) == kind
