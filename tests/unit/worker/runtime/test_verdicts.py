import json
from pathlib import Path

from visgate_worker.runtime.recipe import Cache, Recipe
from visgate_worker.runtime.verdicts import FOLDER, Figures, Verdicts

COMPILED, CACHED = Recipe(compiled=True), Recipe(cache=Cache.FIRST_BLOCK)


def verdicts(root: Path, **other: str) -> Verdicts:
    about = {"gpu": "NVIDIA H100", "family": "flux", "model": "org/one", "versions": "torch 2"} | other
    return Verdicts(root, **about)


def test_a_failure_holds_for_the_family_and_what_was_drawn_for_the_model(tmp_path: Path) -> None:
    known = verdicts(tmp_path)
    known.keep(COMPILED, is_proven=False, reason="it raised", of_family=True)
    known.keep(CACHED, is_proven=True, reason="close", figures=Figures(psnr_db=33, seconds=1, eager_s=2))
    other = verdicts(tmp_path, model="org/two")
    assert other.of(CACHED) is None
    found = other.of(COMPILED)
    assert found is not None
    assert (found.runtime, found.is_proven, found.reason) == ("compiled", False, "it raised")
    again = verdicts(tmp_path).of(CACHED)
    assert again is not None
    assert again.figures == Figures(psnr_db=33, seconds=1, eager_s=2)


def test_nothing_is_known_on_another_gpu_of_another_family_or_with_other_versions(tmp_path: Path) -> None:
    verdicts(tmp_path).keep(COMPILED, is_proven=False, reason="it raised", of_family=True)
    for other in ({"gpu": "NVIDIA A100"}, {"family": "wan"}, {"versions": "torch 3"}):
        assert verdicts(tmp_path, **other).of(COMPILED) is None


def test_a_damaged_verdict_is_none_and_a_place_that_cannot_be_written_to_forgets(tmp_path: Path) -> None:
    known = verdicts(tmp_path)
    known.keep(COMPILED, is_proven=True, reason="close")
    (path,) = (tmp_path / FOLDER).rglob("compiled.json")
    assert json.loads(path.read_text())["is_proven"] is True
    path.write_text("{")
    assert known.of(COMPILED) is None
    (tmp_path / "file").write_text("")
    nowhere = verdicts(tmp_path / "file")
    nowhere.keep(COMPILED, is_proven=True, reason="close")
    assert nowhere.of(COMPILED) is None
