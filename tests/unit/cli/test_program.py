import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_visgate import Endpoint, NetworkVolume, WarmPool
from pulumi_visgate.cli.program import program
from pulumi_visgate.resources._export import Exported, NotTaken
from pulumi_visgate.resources._kinds import Kind
from pulumi_visgate.resources.endpoint import EndpointProvider

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)


def exported(id_: str, name: str, resource: Any = Endpoint, remarks: tuple[str, ...] = (), **args: Any) -> Exported:
    args = {"name": name, **args}
    return Exported(Kind.ENDPOINT, resource, EndpointProvider, id_, name, args, args, args, remarks)


class Secret:
    """Stands for what the configuration of the stack holds."""

    def __init__(self, key: str) -> None:
        self.key = key


def run(text: str) -> dict[str, Any]:
    """Carry out a program with classes that only take note; returns name, class and arguments."""
    made: dict[str, Any] = {}

    def noting(kind: str) -> Any:
        class Noted:
            def __init__(self, name: str, /, **args: Any) -> None:
                self.id = f"id of {name}"
                made[name] = (kind, args)

        return Noted

    class Pulumi:
        class Config:
            @staticmethod
            def require_secret_object(key: str) -> Secret:
                return Secret(key)

    kinds = {kind: noting(kind) for kind in ("Endpoint", "NetworkVolume", "WarmPool")}
    lines = [line for line in text.splitlines() if not line.startswith(("import ", "from "))]
    exec(compile("\n".join(lines), "program", "exec"), {"pulumi": Pulumi, **kinds})
    return made


def formatted(text: str, folder: Path) -> str:
    file = folder / "__main__.py"
    file.write_text(text)
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "--isolated", "--quiet", file], check=True)
    return file.read_text()


def test_a_program_refers_by_variables(tmp_path: Path) -> None:
    volume = exported("vol1", "models", NetworkVolume, size_gb=10, data_center="EU-RO-1")
    pool = exported("end2", "class", WarmPool, ("Windows are not known.",), queue_delay_s=4.0)
    endpoint = exported(
        "end1",
        "Every thing",
        env={"TOKEN": "canary", "N": "5"},
        registry_id="reg1",
        network_volume_ids=["vol1", "vol9"],
        cpus=[{"id": "cpu5c-with-a-very-long-name", "vcpus": 4}, {"id": "cpu3g-with-a-longer-name", "vcpus": 2}],
        serverless=False,
    )
    others = [NotTaken(Kind.REGISTRY, "reg1", "ghcr.io", "no"), NotTaken(Kind.DELEGATION, "d", "", "no")]
    text = program([volume, endpoint, pool], others)
    assert formatted(text, tmp_path) == text
    assert "canary" not in text
    assert "    # TOKEN, N\n" in text
    assert "# Windows are not known.\nclass_2 = WarmPool(" in text
    assert 'ghcr_io_registry_id = "reg1"' in text
    made = run(text)
    kind, args = made["Every thing"]
    assert kind == "Endpoint"
    assert args.pop("env").key == "Every thing-env"
    said = {name: value for name, value in endpoint.args.items() if name != "env"}
    assert args == said | {"network_volume_ids": ["id of models", "vol9"]}
    assert made["models"] == ("NetworkVolume", volume.args)
    assert made["class"] == ("WarmPool", pool.args)
    assert "queue_delay_s=4," in text


def test_a_long_import_is_folded(tmp_path: Path) -> None:
    kinds = [type(f"AResourceOfALongName{number}", (Endpoint,), {}) for number in range(4)]
    text = program([exported(str(number), f"r{number}", kind) for number, kind in enumerate(kinds)], [])
    assert "from pulumi_visgate import (\n    AResourceOfALongName0,\n" in text
    assert formatted(text, tmp_path) == text
    assert "config" not in text


@settings(max_examples=50)
@given(name=TEXT, value=TEXT, items=st.lists(TEXT, max_size=5), pairs=st.dictionaries(TEXT, TEXT, max_size=3))
def test_any_text_survives(name: str, value: str, items: list[str], pairs: dict[str, str]) -> None:
    args: dict[str, Any] = {"args": value, "ports": items, "mounts": pairs}
    made = run(program([exported("a", name, Endpoint, **args), exported("b", f"{name}2")], []))
    assert made[name] == ("Endpoint", {"name": name, **args})


@pytest.mark.parametrize("name", ["class", "match", "print", "config", "pulumi", "1st", "ünï", "a.b", "!!!"])
def test_variables_are_usable_and_different(name: str) -> None:
    text = program([exported("a", name), exported("b", f"{name}!"), exported("c", f"{name}?")], [])
    assert len(run(text)) == 3
    variables = [line.split(" = ")[0] for line in text.splitlines() if " = Endpoint(" in line]
    assert len(set(variables)) == 3
    assert all(variable.isidentifier() for variable in variables)
    assert not {"class", "print", "config", "pulumi", "match"} & set(variables)
