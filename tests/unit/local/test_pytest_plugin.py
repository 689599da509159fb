import subprocess
import sys

HEAVY = {"httpx", "starlette", "pydantic", "uvicorn", "pulumi", "torch", "psutil"}


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = "import pulumi_visgate.local.pytest_plugin, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pulumi_visgate.local.pytest_plugin" in loaded
    assert HEAVY.isdisjoint(loaded)
