"""What becomes of pictures that a checker objects to."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from visgate_contract.errors import ErrorCode
from visgate_contract.events import SafetyOutcome
from visgate_contract.tasks import Safety
from visgate_worker.failures import JobFailedError
from visgate_worker.runtime.base import Clip
from visgate_worker.safety import FRAMES_LOOKED_AT, checked, policy_of


@dataclass
class Reddish:
    """Objects to what is more red than blue."""

    looks: int = 0

    def objects_to(self, picture: Image.Image) -> bool:
        self.looks += 1
        red, _, blue = picture.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
        return bool(red > blue)


class Broken:
    def objects_to(self, picture: Image.Image) -> bool:
        message = "broken"
        raise RuntimeError(message)


RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")


@pytest.mark.parametrize(
    ("picture", "policy", "outcome", "stays"),
    [
        (RED, Safety.OFF, None, True),
        (RED, Safety.FLAG, SafetyOutcome.FLAGGED, True),
        (RED, Safety.BLANK, SafetyOutcome.BLANKED, False),
        (BLUE, Safety.FLAG, SafetyOutcome.PASSED, True),
        (BLUE, Safety.BLANK, SafetyOutcome.PASSED, True),
    ],
)
def test_a_picture_is_dealt_with_by_policy(
    picture: Image.Image, policy: Safety, outcome: SafetyOutcome | None, stays: bool
) -> None:
    found = checked(picture, policy, Reddish())
    assert found.outcome is outcome
    assert isinstance(found.made, Image.Image)
    assert (found.made is picture) == stays
    if not stays:
        assert (found.made.size, found.made.getextrema()) == (picture.size, ((0, 0),) * 3)


def test_one_frame_is_enough_to_blank_a_clip_and_not_all_are_looked_at() -> None:
    frames = np.zeros((33, 4, 4, 3))
    frames[-1, ..., 0] = 1.0
    checker = Reddish()
    found = checked(Clip(frames, fps=8), Safety.BLANK, checker)
    assert found.outcome is SafetyOutcome.BLANKED
    assert isinstance(found.made, Clip)
    assert (found.made.frames.shape, found.made.frames.max(), found.made.fps) == (frames.shape, 0, 8)
    assert checker.looks == FRAMES_LOOKED_AT
    assert checked(Clip(frames[:2], fps=8), Safety.FLAG, Reddish()).outcome is SafetyOutcome.PASSED


def test_a_checker_that_fails_costs_nobody_the_job_and_shows_nothing_that_should_be_blank() -> None:
    flagging, blanking = checked(BLUE, Safety.FLAG, Broken()), checked(BLUE, Safety.BLANK, Broken())
    assert (flagging.made is BLUE, flagging.outcome) == (True, SafetyOutcome.UNCHECKED)
    assert (blanking.made is BLUE, blanking.outcome) == (False, SafetyOutcome.UNCHECKED)


@pytest.mark.parametrize(
    ("platform", "asked", "policy"),
    [
        (Safety.OFF, None, Safety.OFF),
        (Safety.OFF, Safety.FLAG, Safety.FLAG),
        (Safety.FLAG, Safety.BLANK, Safety.BLANK),
        (Safety.BLANK, Safety.OFF, Safety.BLANK),
        (Safety.FLAG, None, Safety.FLAG),
    ],
)
def test_a_job_can_be_stricter_than_the_platform_but_not_laxer(
    platform: Safety, asked: Safety | None, policy: Safety
) -> None:
    assert policy_of(platform, asked, Reddish()) is policy


def test_a_check_that_nobody_can_make_is_refused_rather_than_left_out() -> None:
    with pytest.raises(JobFailedError, match=r"params\.safety: this model has no safety checker") as caught:
        policy_of(Safety.OFF, Safety.FLAG, None)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert policy_of(Safety.OFF, Safety.OFF, None) is Safety.OFF
