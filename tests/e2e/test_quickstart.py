"""What `make up` promises, seen from outside."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.pictures import Rgb, look

RED, BLUE, WHITE = (219, 31, 36), (28, 74, 209), (252, 252, 252)
SECONDS = r"\s+\d+\.\d\d s$"

Stack = tuple[Any, str]


@pytest.mark.parametrize(
    "line",
    [
        r"✓ local cloud up",
        r"✓ engine ready: pulumi \d+\.\d+\.\d+",
        r"✓ model ready: visgate/tiny-sd",
        r"✓ stack up: (\d+) resources \(\1 created, 0 unchanged\)",
        r"✓ request accepted: accepted_cold \(job_\S+\)",
        r"✓ webhook #0 provisioning, signature verified",
        r"✓ webhook #1 started, signature verified",
        r"✓ webhook #\d+ progress \d/8, signature verified",
        r"✓ webhook #\d+ ready, signature verified",
        r"✓ file saved: visgate-a-red-circle-on-white\.png \(256 x 256 PNG\)",
        r"✓ second request answered: warm_ready",
        r"✓ same seed, same bytes",
    ],
)
def test_each_step_is_told_with_its_time(local_stack: Stack, line: str) -> None:
    assert re.search(f"^{line}.*{SECONDS}", local_stack[1], re.MULTILINE), local_stack[1]


def test_the_events_come_in_order_and_end_once(local_stack: Stack) -> None:
    told = re.findall(r"webhook #(\d+) (\w+)", local_stack[1])
    statuses = [status for _, status in told]
    assert [int(number) for number, _ in told] == list(range(len(told)))
    assert statuses[:2] == ["provisioning", "started"]
    assert set(statuses[2:-1]) == {"progress"}
    assert statuses[-1] == "ready"


def test_the_picture_is_a_whole_png_of_the_asked_size(local_stack: Stack) -> None:
    with Image.open(local_stack[0].project / "visgate-a-red-circle-on-white.png") as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", (256, 256))


def test_a_red_circle_on_white_is_red_and_round_and_on_white(local_stack: Stack) -> None:
    seen = look(local_stack[0].project / "visgate-a-red-circle-on-white.png")
    assert_near(seen.colour, RED)
    assert_near(seen.ground, WHITE)
    assert seen.roundness > 0.9 > seen.squareness
    assert 0.1 < seen.part < 0.4


def test_a_blue_square_is_blue_and_square(local_stack: Stack) -> None:
    stack, _ = local_stack
    options = ["--steps", "8", "--seed", "2", "-o", "square.png"]
    stack.run("visgate", "generate", "a blue square", *options)
    seen = look(stack.project / "square.png")
    assert_near(seen.colour, BLUE)
    assert min(seen.ground) > 200  # none is asked for, and pale ones are drawn then
    assert seen.squareness > 0.88 > seen.roundness
    assert 0.1 < seen.part < 0.4


def assert_near(colour: Rgb, wanted: Rgb) -> None:
    assert max(abs(one - other) for one, other in zip(colour, wanted, strict=True)) < 40, colour


def test_a_preview_right_after_is_empty(local_stack: Stack) -> None:
    local_stack[0].pulumi("preview", "--stack", "local", "--expect-no-changes")


def test_generate_gives_the_same_bytes_for_the_same_seed(local_stack: Stack) -> None:
    stack, _ = local_stack
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        options = ["--width", "128", "--height", "64", "--steps", "2", "--seed", str(seed), "-o", f"{name}.png"]
        done = stack.run("visgate", "generate", "a green star", *options)
        assert re.search(r"^http://127\.0\.0\.1:\d+/cdn/\S+/0\.png$", done.stdout, re.MULTILINE)
    one, two, other = (digest(stack.project / f"{name}.png") for name in ("one", "two", "other"))
    assert one == two != other
    with Image.open(stack.project / "one.png") as picture:
        assert picture.size == (128, 64)


@pytest.mark.parametrize(
    ("options", "names", "fix"),
    [
        (["--width", "-64"], "input.width", "64"),
        (["--width", "100"], "input.width", "multiple of 8"),
        (["--steps", "0"], "input.steps", "1"),
        (["--model", "nobody/nothing"], "model: this platform does not offer", "/v1/models"),
        (["--webhook-url", "gopher://x"], "webhook_url", "http"),
        (["--gateway", "http://127.0.0.1:9", "--model", "m/x"], "http://127.0.0.1:9", "visgate local status"),
    ],
)
def test_wrong_input_is_one_message_with_field_and_fix(
    local_stack: Stack, options: list[str], names: str, fix: str
) -> None:
    done = local_stack[0].run("visgate", "generate", "x", *options, check=False)
    assert done.returncode == 1
    assert names in done.stdout
    assert fix in done.stdout
    assert "Traceback" not in done.stdout


def test_a_second_up_changes_nothing(local_stack: Stack) -> None:
    stack, _ = local_stack
    again = stack.run("visgate", "local", "up")
    assert "up already" in again.stdout


def digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def test_e2e_makes_the_same_steps_through_a_stack_that_is_up(local_stack: Stack) -> None:
    stack, _ = local_stack
    said = stack.run("visgate", "e2e", "--stack", "local", "--prompt", "a green star", "--steps", "2").stdout
    for line in (
        r"✓ stack local: gateway http://127\.0\.0\.1:\d+",
        r"✓ gateway ready, and closed to callers without a key",
        r"✓ request accepted: \w+ \(job_\S+\)",
        r"✓ event #\d+ ready",
        r"✓ file saved: visgate-a-green-star\.png \(256 x 256 PNG\)",
        r"✓ second request answered: warm_ready",
        r"✓ same seed, same bytes",
        r"✓ a preview right after is empty",
    ):
        assert re.search(f"^{line}.*{SECONDS}", said, re.MULTILINE), said


def test_cleanup_of_a_stack_that_has_left_nothing_says_so(local_stack: Stack) -> None:
    stack, _ = local_stack
    assert "has left nothing behind" in stack.run("visgate", "cleanup", "--stack", "local", "--yes").stdout
