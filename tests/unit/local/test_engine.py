from pathlib import Path

import pytest

from pulumi_visgate.local.engine import Engine, EngineError

# Stands for `pulumi`: does what the last argument's name in $PLAN says.
FAKE = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$1 $2" in
  "version "*) echo v3.259.0 ;;
  "stack ls") echo '[{"name": "organization/visgate/local"}]' ;;
  "stack output") echo '{"gateway_url": "http://gw"}' ;;
  "stack export") echo '{"deployment": {"resources": [{"urn": "u", "id": "i"}]}}' ;;
  "stack init") echo "error: no" >&2; exit 255 ;;
  up*)
    while [ $# -gt 1 ]; do [ "$1" = --event-log ] && events=$2; shift; done
    echo '{"summaryEvent": {"resourceChanges": {"create": 3, "same": 2}}}' > "$events"
    echo "creating with the key $SECRET"
    ;;
  destroy*) echo "error: the stack is currently locked by 1 lock(s)"; exit 1 ;;
esac
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def engine(tmp_path: Path, said: list[str]) -> Engine:
    program = tmp_path / "pulumi"
    program.write_text(FAKE)
    program.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "SECRET": "hunter2-hunter2"}
    return Engine(
        program,
        project=tmp_path,
        environment=environment,
        log_file=tmp_path / "pulumi.log",
        secrets=("hunter2-hunter2",),
        say=said.append,
    )


def test_queries(engine: Engine) -> None:
    assert engine.version() == "3.259.0"
    assert engine.has_stack("local")
    assert not engine.has_stack("prod")
    assert engine.outputs() == {"gateway_url": "http://gw"}
    assert engine.resources() == [{"urn": "u", "id": "i"}]


def test_a_stack_that_exists_is_not_made(engine: Engine, tmp_path: Path) -> None:
    engine.ensure_stack("local")
    assert "init" not in (tmp_path / "calls").read_text()
    with pytest.raises(EngineError, match="`pulumi stack init` failed:\nerror: no"):
        engine.ensure_stack("other")


def test_an_update_is_counted_shown_and_logged_without_secrets(engine: Engine, said: list[str], tmp_path: Path) -> None:
    changes = engine.up(refresh=True)
    assert (changes["create"], changes["same"], changes["delete"], changes.total) == (3, 2, 0, 5)
    assert said == ["creating with the key [masked]"]
    assert (tmp_path / "pulumi.log").read_text() == "creating with the key [masked]\n"
    assert (tmp_path / "pulumi.log").stat().st_mode & 0o777 == 0o600
    assert "--refresh" in (tmp_path / "calls").read_text()


def test_a_locked_stack_is_said_with_the_way_out(engine: Engine) -> None:
    with pytest.raises(EngineError, match="currently locked") as caught:
        engine.destroy()
    assert "pulumi cancel" in caught.value.hint
