"""Writes the metadata of a distribution that runs from its source: `metadata.py PYPROJECT FOLDER`."""

import sys
import tomllib
from pathlib import Path


def main(pyproject: str, folder: str) -> None:
    """Write name and version beside the packages."""
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    info = Path(folder) / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
