"""Safety checkers: the one that a model brings along, and any classifier that the platform names."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from visgate_contract.errors import ErrorCode
from visgate_contract.events import SafetyOutcome
from visgate_worker.failures import JobFailedError
from visgate_worker.model import find, load
from visgate_worker.safety import ClassifyingChecker

if TYPE_CHECKING:
    from tests.unit.worker.families.conftest import Served
    from visgate_worker.settings import Settings

SIZE = {"width": 96, "height": 64}


def test_the_models_own_checker_decides_for_each_picture(serve_family: "Callable[[str], Served]") -> None:
    served = serve_family("stable-diffusion-checked")
    unchecked = served.files(**SIZE, num_images=2)
    assert [made.safety for made in served.results[-1].artifacts] == [None, None]
    assert served.files(**SIZE, num_images=2, safety="flag") == unchecked
    assert [made.safety for made in served.results[-1].artifacts] == [SafetyOutcome.FLAGGED] * 2
    blank = [Image.open(io.BytesIO(file)) for file in served.files(**SIZE, num_images=2, safety="blank")]
    assert [picture.getextrema() for picture in blank] == [((0, 0),) * 3] * 2
    assert [made.safety for made in served.results[-1].artifacts] == [SafetyOutcome.BLANKED] * 2
    timings = served.results[-1].timings
    assert timings is not None
    assert timings.check_s is not None
    checker: Any = served.model.checker
    checker._model.concept_embeds_weights.data.fill_(2.0)
    assert served.files(**SIZE, num_images=2, safety="blank") == unchecked
    assert [made.safety for made in served.results[-1].artifacts] == [SafetyOutcome.PASSED] * 2


def test_a_model_without_one_says_so(
    serve_family: "Callable[[str], Served]", built_family: "Callable[[str], Settings]"
) -> None:
    error = serve_family("flux").run(**SIZE, safety="flag").error
    assert error is not None
    assert error.code is ErrorCode.INVALID_REQUEST
    assert error.detail.startswith("params.safety: ")
    settings = built_family("flux").model_copy(update={"safety": "blank"})
    with pytest.raises(JobFailedError, match=r"VISGATE_SAFETY is blank, but tiny/flux brings no safety checker"):
        load(find(settings), settings, framework_import_s=0)


def test_a_classifier_objects_by_its_labels(tmp_path: Path) -> None:
    from tests.unit.worker.families.tiny import save_classifier

    save_classifier(tmp_path)
    picture = Image.new("RGB", (40, 30), "red")

    def objects(*labels: str, threshold: float = 0.5) -> bool:
        checker = ClassifyingChecker(str(tmp_path), labels=labels, threshold=threshold, load={})
        return checker.objects_to(picture)

    assert objects("nsfw") != objects("normal")
    assert objects("nsfw", "normal", threshold=0.99)
    with pytest.raises(JobFailedError, match=r"knows none of the labels porn") as caught:
        objects("porn")
    assert caught.value.hint.endswith("it knows normal, nsfw.")
