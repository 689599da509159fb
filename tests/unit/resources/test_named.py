from typing import Any

import pulumi
import pytest
from pulumi.dynamic import ConfigureRequest

from pulumi_visgate import Endpoint, ModelCache, Template, WarmPool
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.resources._named import only
from pulumi_visgate.resources._provider import SECRET_SIGNATURE, SIGNATURE_KEY
from pulumi_visgate.resources.endpoint import EndpointProvider
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.template import CreateTemplate
from pulumi_visgate.runpod.models.template import Template as Found

ENV = {"TOKEN": "canary-of-an-environment-variable"}


def templates(account: RunpodClient, *names: str) -> list[Found]:
    return [account.create_template(CreateTemplate(name=name, image="acme/worker:1")) for name in names]


def test_a_name_means_exactly_one(shell_account: RunpodClient) -> None:
    found = templates(shell_account, "one", "two", "two", "three -fb")
    assert only("Template", found, name="one").id == found[0].id
    assert only("Template", found, id_=found[2].id).id == found[2].id
    assert only("Template", found, name="three").id == found[3].id
    with pytest.raises(VisgateError, match="There is no Template called 'four'") as none:
        only("Template", found, name="four")
    assert "one, three -fb, two" in str(none.value)
    with pytest.raises(VisgateError, match="There are 2 of Template called 'two'") as several:
        only("Template", found, name="two")
    assert found[1].id in str(several.value)
    assert found[2].id in str(several.value)
    for wrong in ({}, {"id_": "a", "name": "b"}):
        with pytest.raises(VisgateError, match="either id or name"):
            only("Template", found, **wrong)


def test_get_takes_one_of_id_and_name() -> None:
    wrongs: list[dict[str, Any]] = [{}, {"id": "a", "name": "b"}]
    for wrong in wrongs:
        with pytest.raises(VisgateError, match=r"Template.get\('t'\): give either id or name"):
            Template.get("t", **wrong)
    with pytest.raises(VisgateError, match="a ModelCache has no name at the API"):
        ModelCache.get("m", name="x")


@pytest.mark.parametrize("kind", [Endpoint, WarmPool, Template])
def test_the_import_option_says_what_to_do_instead(kind: Any) -> None:
    with pytest.raises(VisgateError, match="visgate import"):
        kind("sd", pulumi.ResourceOptions(import_="abc"), image="acme/worker:1")


def test_what_was_unknown_is_read_as_a_secret(shell_account: RunpodClient) -> None:
    """The engine itself marks only what it knew to be secret before."""
    wanted = {
        "name": "plain",
        "type": "QUEUE",
        "image": "acme/worker:1",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "gpu": {"pools": ["ADA_24"]},
        "env": ENV,
    }
    id_ = shell_account.create_endpoint(CreateEndpoint.model_validate(wanted)).id
    provider = EndpointProvider()
    provider.configure(ConfigureRequest(pulumi.dynamic.Config(raw_config={}, project_name="p")))
    for known in ({}, {"name": "plain", "image": "acme/worker:1"}):
        read = provider.read(id_, dict(known))
        for values in (read.outs, read.inputs):
            assert values is not None
            assert values["env"] == {SIGNATURE_KEY: SECRET_SIGNATURE, "value": ENV}
        assert ("container_disk_gb" in (read.outs or {})) == (not known)
