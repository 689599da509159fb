"""The code of docs/webhooks.md, run with real deliveries: good ones pass, and forged or stale ones do not."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from visgate_contract.ed25519 import PrivateKey
from visgate_contract.signing import (
    WebhookSigner,
    derive_webhook_key,
    derive_webhook_secret,
    hmac_signature,
    tenant_of,
)

pytestmark = pytest.mark.contract

PAGE = Path(__file__).parents[2] / "docs/webhooks.md"
SIGNING_KEYS = ("the signing key of a test platform", "the signing key before the rotation")
USER = "0" * 64
BODY = b'{"type":"job.ready","data":{"words":"\xc3\xa4 \\u00e4"}}'
NODE_PACKAGE = "standardwebhooks@1.1.1"
GO_PACKAGE = "github.com/standard-webhooks/standard-webhooks/libraries@v0.0.1"

SECRETS = [derive_webhook_secret(key, USER) for key in SIGNING_KEYS]
PRIVATE = [PrivateKey.of(derive_webhook_key(key, tenant_of(USER))) for key in SIGNING_KEYS]


def snippets(language: str) -> list[str]:
    """The blocks of a language: with the secret, and with the public key."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    return [str(block) for block in found]


@dataclass(frozen=True)
class Case:
    name: str
    headers: dict[str, str]
    body: bytes
    is_good: bool


def cases() -> list[Case]:
    now = datetime.now(UTC)

    def signed(*which: int, at: datetime = now, name: str = "", good: bool = True, body: bytes = BODY) -> Case:
        signs = (*(hmac_signature(SECRETS[n]) for n in which), *(PRIVATE[n].webhook_signature for n in which))
        return Case(name, WebhookSigner(signs).headers("msg_1_ready", BODY, timestamp=at), body, good)

    stranger = derive_webhook_secret(SIGNING_KEYS[0], "1" * 64)
    foreign = PrivateKey.of(derive_webhook_key(SIGNING_KEYS[0], tenant_of("1" * 64)))
    others = WebhookSigner((hmac_signature(stranger), foreign.webhook_signature))
    return [
        signed(0, name="genuine"),
        signed(0, 1, name="during a rotation"),
        signed(0, name="changed", body=BODY.replace(b"ready", b"error"), good=False),
        signed(0, name="stale", at=now - timedelta(minutes=6), good=False),
        signed(0, name="from the future", at=now + timedelta(minutes=6), good=False),
        Case("another user's", others.headers("msg_1_ready", BODY, timestamp=now), BODY, is_good=False),
    ]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """What the snippets read: the secret, the public key, and an address that serves the key set."""
    jwks = json.dumps({"keys": [key.jwk() for key in PRIVATE]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(jwks)))
            self.end_headers()
            self.wfile.write(jwks)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield os.environ | {
            "WEBHOOK_SECRET": SECRETS[0],
            "WEBHOOK_PUBLIC_KEY": PRIVATE[0].public,
            "WEBHOOK_JWKS_URL": f"http://127.0.0.1:{server.server_port}/jwks.json",
            "NO_PROXY": "127.0.0.1",
        }
        server.shutdown()
        thread.join()


def judged(command: list[str], folder: Path, environment: dict[str, str]) -> dict[str, bool]:
    """Run a snippet's driver, which is given cases on standard input and names those that pass."""
    given = [
        {"name": case.name, "headers": case.headers, "body": base64.b64encode(case.body).decode()} for case in cases()
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=json.dumps(given).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    passed = set(json.loads(done.stdout))
    return {case.name: case.name in passed for case in cases()}


EXPECTED = {case.name: case.is_good for case in cases()}
PYTHON_DRIVER = """
import base64, json, sys
from receiver import event_of

passed = []
for case in json.load(sys.stdin):
    try:
        event = event_of(base64.b64decode(case["body"]), case["headers"])
    except Exception:
        continue
    assert event["type"] == "job.ready"
    passed.append(case["name"])
print(json.dumps(passed))
"""
NODE_DRIVER = """
import { eventOf } from "./snippet.mjs";
import { readFileSync } from "node:fs";

const passed = [];
for (const one of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    if (eventOf(Buffer.from(one.body, "base64"), one.headers).type === "job.ready") passed.push(one.name);
  } catch {}
}
console.log(JSON.stringify(passed));
"""
GO_DRIVER = """package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"

	"example.com/receiver/receiver"
)

func main() {
	var cases []struct {
		Name    string
		Headers map[string]string
		Body    string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	passed := []string{}
	for _, one := range cases {
		headers := http.Header{}
		for name, value := range one.Headers {
			headers.Set(name, value)
		}
		body, _ := base64.StdEncoding.DecodeString(one.Body)
		if receiver.Verify(body, headers) == nil {
			passed = append(passed, one.Name)
		}
	}
	json.NewEncoder(os.Stdout).Encode(passed)
}
"""


@pytest.mark.parametrize("which", [0, 1], ids=["secret", "public key"])
def test_python(which: int, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "receiver.py").write_text(snippets("python")[which], encoding="utf-8")
    (tmp_path / "driver.py").write_text(PYTHON_DRIVER, encoding="utf-8")
    assert judged([sys.executable, "driver.py"], tmp_path, environment) == EXPECTED


def fetched(name: str, command: list[str], folder: Path) -> None:
    """Get a package, or skip where its registry cannot be reached."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"{name} cannot be had here: {(done.stderr or done.stdout).strip()[-200:]}")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("node")
@pytest.mark.parametrize("which", [0, 1], ids=["secret", "public key"])
def test_node(which: int, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "snippet.mjs").write_text(snippets("js")[which], encoding="utf-8")
    (tmp_path / "driver.mjs").write_text(NODE_DRIVER, encoding="utf-8")
    if "standardwebhooks" in snippets("js")[which]:
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        fetched("the npm package", ["npm", "install", "--no-audit", "--no-fund", NODE_PACKAGE], tmp_path)
    assert judged(["node", "driver.mjs"], tmp_path, environment) == EXPECTED


@needs("go")
@pytest.mark.parametrize("which", [0, 1], ids=["secret", "public key"])
def test_go(which: int, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "receiver").mkdir()
    (tmp_path / "receiver/receiver.go").write_text(snippets("go")[which], encoding="utf-8")
    (tmp_path / "main.go").write_text(GO_DRIVER, encoding="utf-8")
    fetched("a Go module", ["go", "mod", "init", "example.com/receiver"], tmp_path)
    if "standard-webhooks" in snippets("go")[which]:
        fetched("the Go package", ["go", "get", GO_PACKAGE], tmp_path)
    # The flags of the toolchain's own build, whose cache has Go's library compiled with them.
    flags = environment | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    subprocess.run(["go", "build", "-o", "receives", "."], cwd=tmp_path, env=flags, check=True, timeout=250)
    assert judged(["./receives"], tmp_path, environment) == EXPECTED
