from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources._progress import Progress

LARGE, SMALL = SourceFile("w", 6_900_000_000), SourceFile("c", 5)


class Heard:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)

    note = status = warn


def test_it_is_told_every_other_second_how_far_and_how_fast() -> None:
    heard, clock = Heard(), [0.0]
    progress = Progress("sdxl-turbo", [LARGE, SMALL], heard, now=lambda: clock[0])
    progress.sent(SMALL, 5)
    clock[0] = 1.9
    progress.sent(LARGE, 600_000_000)
    assert heard.said == []
    clock[0] = 2.0
    progress.sent(LARGE, 600_000_000)
    assert heard.said == ["sdxl-turbo: 1.2 GB of 6.9 GB, 1 of 2 files, 600 MB/s"]
    progress.sent(LARGE, 1)
    assert len(heard.said) == 1


def test_what_was_there_is_no_speed_and_what_begins_again_is_not_counted_twice() -> None:
    heard, clock = Heard(), [0.0]
    progress = Progress("m", [SourceFile("a", 2_000_000), SourceFile("b", 1_000_000)], heard, now=lambda: clock[0])
    progress.had(SourceFile("a", 2_000_000))
    progress.sent(SourceFile("b", 1_000_000), 1_000_000)
    progress.took_back(SourceFile("b", 1_000_000))
    clock[0] = 4.0
    progress.sent(SourceFile("b", 1_000_000), 1_000_000)
    assert heard.said == ["m: 3 MB of 3 MB, 2 of 2 files, 500 kB/s"]
    assert progress.summary() == "m: 3 MB in 2 files, 2 MB sent in 4 s"
