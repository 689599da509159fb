from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources import _session
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources._values import UNKNOWN, former_name
from pulumi_visgate.resources.ecr_delegation import EcrDelegationCrud
from pulumi_visgate.resources.errors import InUse, NameTaken
from pulumi_visgate.resources.registry_auth import RegistryAuthCrud
from pulumi_visgate.resources.template import TemplateCrud
from pulumi_visgate.runpod.errors import RunpodError

PASSWORD = "canary-of-a-registry-password"
AUTH = {"owner": "p/s/ghcr", "username": "canary-of-a-user", "password": PASSWORD}
ARN = "arn:aws:ecr:us-east-2:418399314813:repository/acme/worker"


@pytest.fixture
def settings(runpod_emulator: RunpodEmulator) -> Settings:
    return Settings(runpod_api_key=SecretStr(runpod_emulator.key), runpod_api_url=runpod_emulator.api_url)


@pytest.fixture
def session(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(_session, "LIST_SETTLE_S", 0.0)
    session = Session(settings)
    yield session
    session.runpod.close()


def checked(crud: RegistryAuthCrud | EcrDelegationCrud, olds: dict[str, Any], **news: Any) -> dict[str, Any]:
    values, problems = crud.check(olds, news)
    assert problems == []
    return values


def test_a_credential_lives_from_create_to_delete(session: Session) -> None:
    crud = RegistryAuthCrud(session)
    inputs = checked(crud, {}, **AUTH)
    for secret in (PASSWORD, AUTH["username"]):
        assert secret not in inputs["name"] + inputs["fingerprint"]
    id_, outs = crud.create(inputs)
    assert [(found.id, found.name) for found in session.registries.all(fresh=True)] == [(id_, inputs["name"])]
    found = crud.read(id_, outs)
    assert found is not None
    assert (found.outs, found.inputs) == (outs, inputs)
    assert crud.diff(outs, checked(crud, inputs, **AUTH)) == crud.diff(outs, inputs)
    assert crud.diff(outs, inputs).changed == ()
    crud.delete(id_, outs)
    assert crud.read(id_, outs) is None
    crud.delete(id_, outs)


def test_a_credential_keeps_the_name_that_version_0_1_derived(session: Session) -> None:
    crud = RegistryAuthCrud(session)
    given = {**AUTH, "owner": "p/s/Our Registry"}
    inputs = checked(crud, {}, **given)
    olds = {**inputs, "name": former_name("p/s/Our Registry", [inputs["fingerprint"]])}
    assert olds["name"] != inputs["name"]
    assert checked(crud, olds, **given)["name"] == olds["name"]


def test_another_password_is_another_credential_and_the_new_one_comes_first(session: Session) -> None:
    crud = RegistryAuthCrud(session)
    inputs = checked(crud, {}, **AUTH)
    _, outs = crud.create(inputs)
    for change in ({"password": "another"}, {"username": "another"}):
        news = checked(crud, inputs, **{**AUTH, **change})
        found = crud.diff(outs, news)
        assert set(found.replaces) == {"name", *change}
        assert not found.delete_first
    named = checked(crud, {}, **AUTH, name="ghcr")
    assert crud.diff(named, checked(crud, named, **{**AUTH, "password": "x"}, name="ghcr")).delete_first
    unknown = checked(crud, inputs, **{**AUTH, "password": UNKNOWN})
    assert unknown["name"] is UNKNOWN
    assert "password" in crud.diff(outs, unknown).replaces


def test_a_rotated_account_key_changes_nothing(session: Session, settings: Settings) -> None:
    crud = RegistryAuthCrud(session)
    inputs = checked(crud, {}, **AUTH)
    rotated = RegistryAuthCrud(Session(Settings(SecretStr("rpa_ANOTHERANOTHERANOTHER"), settings.runpod_api_url)))
    assert checked(rotated, {}, **AUTH)["name"] != inputs["name"]  # the digest is keyed
    assert checked(rotated, inputs, **AUTH) == inputs
    rotated.session.runpod.close()


def test_a_half_made_credential_is_found_again_and_a_foreign_one_is_not_taken(
    session: Session, runpod_emulator: RunpodEmulator
) -> None:
    crud = RegistryAuthCrud(session)
    inputs = checked(crud, {}, **AUTH)
    runpod_emulator.fault("lost_answer", operation="createRegistry", times=1)
    id_, _ = crud.create(inputs)
    assert crud.create(inputs)[0] == id_
    assert len(session.registries.all(fresh=True)) == 1
    foreign = {**AUTH, "owner": "p/s/other", "name": inputs["name"]}
    values, [problem] = crud.check({}, foreign)
    assert problem.property == "name"
    with pytest.raises(NameTaken, match="none is taken over") as raised:
        crud.create(values)
    assert PASSWORD not in str(raised.value) + problem.reason


def test_one_in_use_is_kept_and_its_users_are_named(session: Session, runpod_emulator: RunpodEmulator) -> None:
    crud, templates = RegistryAuthCrud(session), TemplateCrud(session)
    id_, outs = crud.create(checked(crud, {}, **AUTH))
    template, problems = templates.check({}, {"owner": "p/s/t", "image": "acme/worker:1", "registry_id": id_})
    assert problems == []
    template_id, _ = templates.create(template)
    with pytest.raises(InUse, match=f"is used by template {template['name']}"):
        crud.delete(id_, outs)
    templates.delete(template_id, {})
    runpod_emulator.fault("status", operation="deleteRegistry", status=400, times=1)  # a pod that we cannot see
    with pytest.raises(InUse, match="Wait until no worker or pod uses it"):
        crud.delete(id_, outs)
    crud.delete(id_, outs)
    assert crud.read(id_, outs) is None


def test_a_refusal_does_not_repeat_the_password(session: Session, runpod_emulator: RunpodEmulator) -> None:
    crud = RegistryAuthCrud(session)
    inputs = checked(crud, {}, **AUTH)
    runpod_emulator.fault("status", operation="createRegistry", status=422, times=1)
    with pytest.raises(RunpodError) as raised:
        crud.create(inputs)
    assert PASSWORD not in str(raised.value) + repr(raised.value)
    [problem] = crud.check({}, {**AUTH, "password": [PASSWORD]})[1]
    assert PASSWORD not in problem.reason


@pytest.mark.parametrize("arn", [ARN, f"{ARN}:v1", ARN.replace("arn:aws:", "arn:aws-cn:")])
def test_a_delegation_lives_from_create_to_revoke(session: Session, arn: str) -> None:
    crud = EcrDelegationCrud(session)
    inputs = checked(crud, {}, owner="p/s/ecr", repository_arn=arn)
    id_, outs = crud.create(inputs)
    assert (outs["repository"], outs["aws_region"]) == ("acme/worker", "us-east-2")
    assert outs["registry_uri"] == "418399314813.dkr.ecr.us-east-2.amazonaws.com"
    found = crud.read(id_, outs)
    assert found is not None
    assert (found.outs, found.inputs) == (outs, inputs)
    assert crud.diff(outs, inputs).changed == ()
    assert crud.create(inputs)[0] == id_
    news = checked(crud, inputs, owner="p/s/ecr", repository_arn=ARN.replace("worker", "other"))
    change = crud.diff(outs, news)
    assert "repository_arn" in change.replaces
    assert not change.delete_first

    again = EcrDelegationCrud(Session(session.settings))
    again.delete(id_, outs)
    assert again.read(id_, outs) is None
    again.delete(id_, outs)
    again.session.runpod.close()


def test_a_delegation_read_without_a_past_tells_its_repository(session: Session) -> None:
    crud = EcrDelegationCrud(session)
    id_, _ = crud.create(checked(crud, {}, owner="p/s/ecr", repository_arn=f"{ARN}:v1", name="mine"))
    found = crud.read(id_, {})
    assert found is not None
    assert found.inputs == {"name": "mine", "repository_arn": f"{ARN}:v1"}
    [problem] = crud.check({}, {"owner": "p/s/e", "repository_arn": "acme/worker"})[1]
    assert problem.property == "repository_arn"
