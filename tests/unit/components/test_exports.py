import subprocess
import sys

import pytest

import pulumi_visgate


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = (
        "import sys, pulumi_visgate; pulumi_visgate.__version__; dir(pulumi_visgate); "
        "print(sorted({'pulumi', 'boto3', 'torch', 'httpx', 'pydantic', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in pulumi_visgate.__all__ if name != "__version__"])
def test_every_public_name_is_there_under_its_own_name(name: str) -> None:
    assert getattr(pulumi_visgate, name).__name__ == name


def test_another_name_is_refused_as_usual() -> None:
    for name in ("Nothing", "account_user_hashArgs"):
        with pytest.raises(AttributeError, match=name):
            getattr(pulumi_visgate, name)
