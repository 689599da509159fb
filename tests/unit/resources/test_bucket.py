from typing import Any

import pytest
from botocore.exceptions import ClientError

from pulumi_visgate.resources.bucket import BucketCrud
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
