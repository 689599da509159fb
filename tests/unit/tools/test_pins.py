"""The pins agree with one another, so that updating one of them alone fails here."""

import re
import shutil
from pathlib import Path

import pytest

from tools.provision import cli
from tools.provision.host import TOOLS_DIR, platform_key
from tools.provision.pins import DEFAULT_TOOLS, TOOLS, GoProgram, ModuleFile, Tool

PLATFORMS = {"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"}
PROGRAMS = [program for tool in TOOLS.values() for program in tool.programs]
SCRIPTS = [script for tool in TOOLS.values() for script in tool.scripts]


def required_versions(module: str) -> dict[str, str]:
    text = (TOOLS_DIR / module / "go.mod").read_text()
    return dict(re.findall(r"^\s+(\S+) (v\S+)", text, re.MULTILINE)) | dict(
        re.findall(r"^require (\S+) (v\S+)", text, re.MULTILINE)
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.filename)
def test_the_stamped_version_is_that_of_the_module(program: GoProgram) -> None:
    versions = required_versions(program.module)
    owner = max((name for name in versions if program.package.startswith(name + "/")), key=len)

    assert program.stamp.endswith(f"={versions[owner]}")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.filename)
def test_the_module_declares_its_program_as_a_tool(program: GoProgram) -> None:
    assert f"\ntool {program.package}\n" in (TOOLS_DIR / program.module / "go.mod").read_text()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.filename)
def test_every_required_module_has_its_sum(program: GoProgram) -> None:
    sums = (TOOLS_DIR / program.module / "go.sum").read_text()
    text = (TOOLS_DIR / program.module / "go.mod").read_text()
    replaced = set(re.findall(r"^replace (\S+) =>", text, re.MULTILINE))
    versions = required_versions(program.module)

    assert [
        name for name in versions if name not in replaced and f"{name} {versions[name]}/go.mod h1:" not in sums
    ] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.filename)
def test_scripts_come_from_the_version_of_the_engine(script: ModuleFile) -> None:
    assert required_versions(script.module)[script.dependency] == TOOLS["pulumi"].version


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_what_is_built_is_what_is_looked_for(tool: Tool) -> None:
    made = [program.filename for program in tool.programs] + [script.filename for script in tool.scripts]

    assert sorted(made) == sorted(tool.files)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_archives_are_of_the_pinned_version_and_differ_by_platform(tool: Tool) -> None:
    for archive in tool.archives.values():
        assert archive.url.startswith("https://")
        assert tool.version in archive.url
        assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
    for field in ("url", "sha256"):
        assert len({getattr(archive, field) for archive in tool.archives.values()}) == len(tool.archives)


@pytest.mark.parametrize("key", DEFAULT_TOOLS)
def test_default_tools_have_an_archive_for_each_platform(key: str) -> None:
    assert set(TOOLS[key].archives) == PLATFORMS


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_a_change_of_a_module_makes_a_new_cache_entry(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "versitygw"
    shutil.copytree(TOOLS_DIR / "versitygw", copied)
    monkeypatch.setattr(cli, "TOOLS_DIR", tmp_path)
    before = cli.entry_name("s3", TOOLS["s3"], "build")

    (copied / changed).write_text((copied / changed).read_text() + "\n")

    assert cli.entry_name("s3", TOOLS["s3"], "build") != before
    assert before.startswith(f"s3-v1.8.0-{platform_key()}-build-")
