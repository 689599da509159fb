"""Records the state that this version leaves, for the tests of later versions: `python tests/engine/upgrade/record.py`.

Run it at every release, after the version was raised and from a clean checkout, and commit the folder that it makes. It
brings the newest recorded program up on a local cloud of its own, exports the state, and takes everything down again.
Secrets in the state are encrypted with a passphrase that protects nothing: all of them are made up for this.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SETTINGS = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))


def run(*command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a command in a folder, and end with what it said when it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def cloud(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Start a local cloud and return an environment that knows it."""
    run("visgate", "local", "up", folder=folder, environment=environment)
    told = run("bash", "-c", 'eval "$(visgate local env)"; env -0', folder=folder, environment=environment)
    return dict(pair.split("=", 1) for pair in told.split("\0") if pair)


def record(folder: Path, program: str) -> str:
    """Bring a program up, return its state, and take it down."""
    project = folder / "project"
    (project / "model").mkdir(parents=True)
    for name, text in SETTINGS["model"].items():
        (project / "model" / name).write_text(text, encoding="utf-8")
    (project / "Pulumi.yaml").write_text("name: engine\nruntime: python\n", encoding="utf-8")
    (project / "__main__.py").write_text(program, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VISGATE_", "RUNPOD_", "HF_"))}
    environment = cloud(project, kept | {"RUNPOD_API_KEY": SETTINGS["key"]})
    environment |= {"PULUMI_CONFIG_PASSPHRASE": SETTINGS["passphrase"], "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        run("pulumi", "stack", "init", "dev", folder=project, environment=environment)
        run("pulumi", "up", "--yes", "--skip-preview", folder=project, environment=environment)
        state = run("pulumi", "stack", "export", folder=project, environment=environment)
        run("pulumi", "destroy", "--yes", "--skip-preview", folder=project, environment=environment)
    finally:
        run("visgate", "local", "down", "--purge", folder=project, environment=environment)
    return state


def _scrub(deployment: dict[str, Any]) -> None:
    """Take out what tells of the machine and the day."""
    deployment["manifest"] = {"time": "0001-01-01T00:00:00Z", "magic": "", "version": ""}
    for resource in deployment["resources"]:
        for name in ("created", "modified", "sourcePosition", "stackTrace"):
            resource.pop(name, None)


def main() -> None:
    """Record the installed version."""
    newest = sorted(path for path in HERE.glob("v*") if path.is_dir())[-1]
    target = HERE / f"v{version('pulumi-visgate').replace('.', '_')}"
    with tempfile.TemporaryDirectory() as folder:
        state = json.loads(record(Path(folder), (newest / "program.py").read_text(encoding="utf-8")))
    _scrub(state["deployment"])
    target.mkdir(exist_ok=True)
    if newest != target:
        shutil.copy(newest / "program.py", target)
    text = json.dumps(state, indent=1) + "\n"
    if str(Path.home()) in text or tempfile.gettempdir() in text:
        sys.exit("The state names a folder of this machine; nothing was recorded.")
    (target / "state.json").write_text(text, encoding="utf-8")
    print(f"Recorded {target}")


if __name__ == "__main__":
    main()
