from typing import Any

import pytest
from botocore.exceptions import ClientError

from pulumi_visgate.resources._values import former_name
from pulumi_visgate.resources.bucket import BucketCrud
from pulumi_visgate.resources.errors import StoreError
from tests.unit.resources.conftest import MemorySession

BUCKET = {"owner": "p/s/pictures"}


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"name": "Capital"}, "name"),
        ({"name": "a..b"}, "name"),
        ({"expire_after_days": 0}, "expire_after_days"),
        ({"cors_origins": ["app.example"]}, "cors_origins"),
        ({"public_read": "yes please"}, "public_read"),
        ({"tags": {"": "x"}}, "tags"),
        ({"tags": {"team": "x" * 257}}, "tags"),
    ],
)
def test_a_problem_names_its_input(session: MemorySession, inputs: dict[str, Any], name: str) -> None:
    _, problems = BucketCrud(session).check({}, {**BUCKET, **inputs})
    assert [problem.property for problem in problems] == [name]


def test_a_renamed_bucket_is_a_new_one_and_a_renamed_stack_keeps_it(session: MemorySession) -> None:
    crud = BucketCrud(session)
    before, _ = crud.check({}, BUCKET)
    assert crud.check(before, {"owner": "p/renamed/pictures"})[0]["name"] == before["name"]
    other, _ = crud.check(before, {**BUCKET, "name": "another"})
    assert crud.diff(before, other).replaces == ("name",)
    assert not crud.diff(before, other).delete_first


def test_a_bucket_keeps_the_name_that_version_0_1_derived(session: MemorySession) -> None:
    owner = "p/s/Pictures of the team"
    name = former_name(owner, [None])
    crud = BucketCrud(session)
    assert crud.check({}, {"owner": owner})[0]["name"] != name
    assert crud.check({"owner": owner, "name": name}, {"owner": owner})[0]["name"] == name
    assert crud.check({"owner": owner, "name": "theirs"}, {"owner": owner})[0]["name"] not in {name, "theirs"}


class TaglessStore:
    """A store that knows buckets, and nothing of tags."""

    def __init__(self) -> None:
        self.buckets: set[str] = set()

    def head_bucket(self, **given: str) -> None:
        if given["Bucket"] not in self.buckets:
            raise ClientError({"Error": {"Code": "404"}}, "HeadBucket")

    def create_bucket(self, **given: Any) -> None:
        self.buckets.add(given["Bucket"])

    def __getattr__(self, operation: str) -> Any:
        def refuse(**_: Any) -> None:
            raise ClientError({"Error": {"Code": "NotImplemented"}}, operation)

        return refuse


def test_where_the_store_has_no_tags_they_are_in_the_state_alone(
    session: MemorySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(session), "store", TaglessStore())
    crud = BucketCrud(session)
    inputs, _ = crud.check({}, {**BUCKET, "tags": {"team": "pictures"}})
    id_, outs = crud.create(inputs)
    found = crud.read(id_, outs)
    assert found is not None
    assert found.outs["tags"] == {"team": "pictures"}
    assert crud.diff(found.outs, inputs).changed == ()
    other, _ = crud.check(inputs, {**BUCKET, "tags": {"team": "films"}})
    assert crud.update(id_, outs, other)["tags"] == {"team": "films"}


class BrokenStore(TaglessStore):
    """A store whose answer to the first `CreateBucket` was lost, and which refuses everything else."""

    def create_bucket(self, **given: Any) -> None:
        super().create_bucket(**given)
        raise ClientError({"Error": {"Code": "BucketAlreadyOwnedByYou"}}, "CreateBucket")


def test_a_bucket_whose_answer_was_lost_is_ours(session: MemorySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(session), "store", BrokenStore())
    crud = BucketCrud(session)
    inputs, _ = crud.check({}, {**BUCKET, "name": "pictures"})
    assert crud.create(inputs)[0] == "pictures"


def test_the_first_error_is_told_when_a_bucket_cannot_be_taken_back(
    session: MemorySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(session), "store", BrokenStore())
    crud = BucketCrud(session)
    inputs, _ = crud.check({}, {**BUCKET, "public_read": True})
    with pytest.raises(StoreError, match="public_read: this S3 store does not support it"):
        crud.create(inputs)
