"""Writes what is in the image as CycloneDX: `sbom.py PYTHON PYPROJECT OUTPUT`. It runs while the image is built.

The Python packages are told by cyclonedx-py, Debian's by dpkg; the worker itself is what all of it is for.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

_FIELDS = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n"


def python_packages(python: str, pyproject: str) -> dict[str, Any]:
    """Return the document of an environment's packages."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--spec-version", "1.6"]
    told = subprocess.run([*command, "--pyproject", pyproject, python], capture_output=True, text=True, check=True)  # noqa: S603, our own tool
    document: dict[str, Any] = json.loads(told.stdout)
    return document


def system_packages() -> list[dict[str, Any]]:
    """Return the components that dpkg has installed."""
    command = ["/usr/bin/dpkg-query", "--show", f"--showformat={_FIELDS}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603, as it stands here
    rows = (line.split("\t") for line in told.stdout.splitlines())
    found = []
    for _, name, version, architecture in sorted(row for row in rows if row[0].startswith("ii")):
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture}).to_string()
        found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return found


def main(python: str, pyproject: str, output: str) -> None:
    """Write the document."""
    document = python_packages(python, pyproject)
    document["components"] = [*document.get("components", []), *system_packages()]
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"not CycloneDX 1.6: {problem}")
    Path(output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
