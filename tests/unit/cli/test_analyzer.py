"""What an engine starts for the policy pack."""

import subprocess
import sys
from pathlib import Path

PACK = Path(__file__).parents[3] / "policy"
START = [sys.executable, "-c", "from pulumi_visgate.cli.analyzer import main; main()"]


def test_the_port_is_told_at_once_and_the_pack_ends_with_its_engine() -> None:
    with subprocess.Popen([*START, "127.0.0.1:1", str(PACK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip().isdigit()
            assert process.poll() is None
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_wrong_usage_is_said() -> None:
    done = subprocess.run(START, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: pulumi-analyzer-policy-visgate")
