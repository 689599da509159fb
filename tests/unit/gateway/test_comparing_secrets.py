"""Secrets are compared in constant time, everywhere, and whatever is compared with them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import pulumi_visgate.gateway
import visgate_contract
from tests.unit.gateway.test_jobs import BODY, MODEL, pool
from visgate_contract.errors import ContractError
from visgate_contract.signing import JobRef

SECRET = "a-secret-of-the-tests-0123456789abcdef"
NEARLY = [
    SECRET[:-1],
    SECRET + "0",
    SECRET.upper(),
    SECRET[:-1] + "g",
    " " + SECRET + "x",
    "\u017f" + SECRET[1:],
    "x" * 9_000,
]
_SECRET_NAME = re.compile(r"(secret|token|signature|mac|digest|password|signing_key|api_key)$")


def compared(source: str) -> Iterator[str]:
    """Every `==`, `!=` and `in` of one line in which a secret takes part, by its name."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant | ast.List | ast.Dict) for side in sides):
            continue  # whether it is there, or empty
        if any(_SECRET_NAME.search(_name(side)) for side in sides):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("package", [pulumi_visgate.gateway, visgate_contract], ids=lambda package: package.__name__)
def test_no_secret_is_compared_with_an_equals_sign(package: Any) -> None:
    files = sorted(Path(package.__file__).parent.rglob("*.py"))
    assert files
    found = {str(file): list(compared(file.read_text())) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_the_search_finds_what_it_is_for() -> None:
    for wrong in ("given == self._secret", "token != expected", "a.signature == b", "x.api_key() == y"):
        assert list(compared(wrong))
    for right in ("secret is None", 'token == ""', "hmac.compare_digest(secret, given)", "size == limit"):
        assert not list(compared(right))


@pytest.mark.parametrize("told", NEARLY)
async def test_a_metrics_token_that_is_nearly_right(serve: Any, told: str) -> None:
    async with serve(metrics_token=SECRET) as client:
        right = await client.get("/metrics", headers={"Authorization": f"Bearer {SECRET}"})
        wrong = await client.get("/metrics", headers={"Authorization": b"Bearer " + told.encode()})
    assert (right.status_code, wrong.status_code) == (200, 401)


@pytest.mark.parametrize("told", NEARLY)
async def test_an_origin_secret_that_is_nearly_right(serve: Any, told: str) -> None:
    async with serve(origin_secret=SECRET) as client:
        right = await client.get("/v1/models", headers={"X-Visgate-Origin": SECRET})
        wrong = await client.get("/v1/models", headers={"X-Visgate-Origin": told.encode()})
        twice = await client.get(
            "/v1/models", headers=httpx.Headers([("X-Visgate-Origin", SECRET), ("X-Visgate-Origin", SECRET)])
        )
    assert [each.status_code for each in (right, wrong, twice)] == [200, 403, 403]


@pytest.mark.parametrize("change", [lambda mac: mac[:-1], lambda mac: mac + "0", str.upper, lambda mac: "é" * len(mac)])
def test_a_job_id_whose_seal_is_nearly_right(change: Any) -> None:
    job_id = JobRef("ep1", "job1-u1", "task_" + "0" * 26).job_id(SECRET)
    head, _, mac = job_id.rpartition("_")
    assert JobRef.parse(job_id, SECRET).endpoint_id == "ep1"
    if change(mac) != mac:
        with pytest.raises(ContractError):
            JobRef.parse(f"{head}_{change(mac)}", SECRET)


async def test_an_endpoint_whose_secret_is_no_ascii_is_only_not_ours(serve: Any, runpod: Any) -> None:
    pool(runpod, env={"VISGATE_MODEL_ID": MODEL, "VISGATE_WEBHOOK_SECRET": "whsec_ünïcode"})
    async with serve() as client:
        answer = await client.post("/v1/jobs", json=BODY)
    assert answer.status_code == 202
