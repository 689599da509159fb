from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.local.logs import follow, tail


def test_tail_is_the_end_of_the_file(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"{n}\n" for n in range(100)))
    assert tail(log, lines=3) == ["97", "98", "99"]
    assert tail(log, lines=0) == []


def test_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == []


def test_tail_reads_only_the_end_of_a_large_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"\xff" * 200_000 + b"\nlast\n")
    assert tail(log, lines=1) == ["last"]


def test_follow_yields_whole_new_lines_of_each_log(tmp_path: Path) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text("old\n")
    lines = follow({"one": one, "two": two})
    one.write_text("old\nnew\nhal")
    assert next(lines) == ("one", "new")
    two.write_text("first\n")
    assert next(lines) == ("two", "first")
    one.write_text("old\nnew\nhalf done\n")
    assert next(lines) == ("one", "half done")


def test_follow_starts_over_when_a_log_was_replaced(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_text("a long old line\n")
    lines = follow({"one": log})
    log.write_text("new\n")
    assert next(lines) == ("one", "new")


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))), max_size=8))
def test_tail_keeps_every_line(lines: list[str]) -> None:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "a.log"
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        assert tail(log, lines=10) == lines
