"""Environment variables that are not the program's, and names that are not quite its own."""

import pytest

from pulumi_visgate.runpod.models.endpoint import UpdateEndpoint
from tests.contract.account import Account, account
from tools.reference.fields import BASES, OWNER

__all__ = ["account"]
pytestmark = pytest.mark.contract

BALANCER = {**BASES["Endpoint"], "owner": OWNER, "routing": "LOAD_BALANCER", "request_count": 2}
FROM_TEMPLATE = {"gpu_pools": ["ADA_24"], "owner": OWNER, "template_id": "$template1"}


def test_a_load_balancer_keeps_the_ports_that_runpod_gave_it(account: Account) -> None:
    id_, outs = account.create("Endpoint", {**BALANCER, "env": {"A": "1", "PORT": "8000"}})
    assert account.held("Endpoint", id_)["env"] == {"A": "1", "PORT": "8000", "PORT_HEALTH": "80"}

    program = {**BALANCER, "env": {"B": "2"}}
    outs = account.crud("Endpoint").update(id_, outs, account.checked("Endpoint", program, outs))
    assert account.held("Endpoint", id_)["env"] == {"B": "2", "PORT_HEALTH": "80"}
    account.refreshed("Endpoint", id_, outs, program)


def test_a_templates_environment_stays_under_the_programs_own(account: Account) -> None:
    id_, outs = account.create("Endpoint", {**FROM_TEMPLATE, "env": {"A": "1", "SHARED": "program"}})
    held = account.held("Endpoint", id_)
    assert held["env"] == {"A": "1", "SHARED": "program", "T": "1"}
    assert (held["args"], held["gpu"]["allowedCudaVersions"]) == ("--template", ["12.6"])

    program = {**FROM_TEMPLATE, "env": {"A": "2"}}
    outs = account.crud("Endpoint").update(id_, outs, account.checked("Endpoint", program, outs))
    assert account.held("Endpoint", id_)["env"] == {"A": "2", "T": "1"}
    outs = account.refreshed("Endpoint", id_, outs, program)

    program["template_id"] = "$template2"
    outs = account.crud("Endpoint").update(id_, outs, account.checked("Endpoint", program, outs))
    held = account.held("Endpoint", id_)
    assert held["env"] == {"A": "2", "SHARED": "template", "T": "2"}
    assert held["image"] == "acme/template2:1"
    outs = account.refreshed("Endpoint", id_, outs, program)

    program = {**BASES["Endpoint"], "owner": OWNER, "env": {"A": "2"}}
    outs = account.crud("Endpoint").update(id_, outs, account.checked("Endpoint", program, outs))
    held = account.held("Endpoint", id_)
    assert (held["env"], held["args"], held["gpu"]["allowedCudaVersions"]) == ({"A": "2"}, "", [])
    account.refreshed("Endpoint", id_, outs, program)


def test_what_somebody_changes_in_the_programs_own_variables_is_drift(account: Account) -> None:
    program = {**FROM_TEMPLATE, "env": {"A": "1"}}
    id_, outs = account.create("Endpoint", program)
    account.client.update_endpoint(id_, UpdateEndpoint(env={"A": "other", "T": "1"}))
    found = account.crud("Endpoint").read(id_, outs)
    assert found is not None
    wanted = account.checked("Endpoint", program, found.inputs)
    assert account.crud("Endpoint").diff(found.outs, wanted).changed == ("env",)


def test_a_name_with_flashboots_suffix_is_found_again(account: Account) -> None:
    program = {**BASES["Endpoint"], "owner": OWNER, "flashboot": "FLASHBOOT"}
    id_, _ = account.create("Endpoint", program)
    again, outs = account.create("Endpoint", program)  # as after a crash between the answer and the state
    assert again == id_
    account.refreshed("Endpoint", id_, outs, program)
