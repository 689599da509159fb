"""The build context of the gateway's image: the same content is the same folder, whoever asks."""

from pathlib import Path

import pytest

from pulumi_visgate.components._contexts import gateway_context


def test_the_same_content_is_the_same_folder_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = gateway_context(), gateway_context()
    assert first == second
    assert list((tmp_path / "visgate" / "contexts").iterdir()) == [first]
    assert {path.name for path in first.iterdir()} == {"Dockerfile", "requirements.lock", "app"}
    assert {path.name for path in (first / "app").iterdir() if not path.name.endswith(".dist-info")} == {
        "pulumi_visgate",
        "visgate_contract",
    }
    assert not list(first.rglob("__pycache__"))
