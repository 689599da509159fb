"""A key and the one before it."""

from pulumi_visgate.resources.signing_key import SigningKeyCrud
from tests.unit.resources.conftest import MemorySession


def test_before_the_first_rotation_the_former_key_is_empty_and_not_unknown(session: MemorySession) -> None:
    crud = SigningKeyCrud(session)
    id_, made = crud.create({"rotation": "1"})
    assert made["previous"] == ""
    unrotated = crud.update(id_, made, {"rotation": "1", "keep_previous": True})
    assert (unrotated["value"], unrotated["previous"]) == (made["value"], "")
    rotated = crud.update(id_, unrotated, {"rotation": "2"})
    assert rotated["value"] != made["value"]
    assert rotated["previous"] == made["value"]
    assert crud.update(id_, rotated, {"rotation": "2", "keep_previous": False})["previous"] == ""


def test_a_key_of_an_old_state_that_knows_no_former_one_is_mended_by_a_refresh(session: MemorySession) -> None:
    crud = SigningKeyCrud(session)
    found = crud.read("key-1", {"rotation": "1", "value": "k"})
    assert found.outs["previous"] == ""
    assert found.inputs == {"rotation": "1"}
