import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "emulator.md"
WORKER = """
import runpod

runpod.serverless.start({"handler": lambda job: {"hello": job["input"]["name"]}})
"""

HEAVY = {"httpx", "starlette", "pydantic", "uvicorn", "pulumi", "torch", "psutil"}


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = "import pulumi_visgate.local.pytest_plugin, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pulumi_visgate.local.pytest_plugin" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_the_example_of_the_documentation_passes(tmp_path: Path) -> None:
    example = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "test_example.py").write_text(example)
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout + run.stderr
