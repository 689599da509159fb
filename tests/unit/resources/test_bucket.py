from typing import Any

import pytest

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
