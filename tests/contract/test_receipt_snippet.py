"""The code of docs/artifacts.md, run with a worker's receipt: a genuine one passes, and no other."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest

from visgate_contract.ed25519 import PrivateKey
from visgate_contract.events import Artifact, Timings
from visgate_contract.signing import derive_webhook_key
from visgate_contract.tasks import Text2ImgInput
from visgate_worker.provenance import Provenance
from visgate_worker.receipt import receipt

pytestmark = pytest.mark.contract

PAGE = Path(__file__).parents[2] / "docs/artifacts.md"
FILE = b"the bytes of a picture"
KEYS = [PrivateKey.of(derive_webhook_key("a signing key of a test platform", letter * 32)) for letter in "ab"]


def receipt_of(key: PrivateKey) -> str:
    artifact = Artifact(
        url="https://cdn/0.png",
        content_type="image/png",
        width=64,
        height=64,
        size_bytes=len(FILE),
        sha256=hashlib.sha256(FILE).hexdigest(),
        seed=7,
    )
    origin = Provenance.of(Text2ImgInput(prompt="a red fox"), model_id="org/model", revision=None)
    made = receipt(
        key,
        origin,
        job={"task_id": "task_1"},
        artifacts=[artifact],
        timings=Timings(generate_s=0.5),
        runtime=None,
        mask=lambda text: text,
    )
    return made.decode()


@pytest.fixture
def made_from(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes], dict[str, Any]]]:
    """The function of the page, with the key set of the first key's owner."""
    jwks = json.dumps({"keys": [KEYS[0].jwk()]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(jwks)))
            self.end_headers()
            self.wfile.write(jwks)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("WEBHOOK_JWKS_URL", f"http://127.0.0.1:{server.server_port}/jwks.json")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        names: dict[str, Any] = {}
        exec(code, names)
        yield names["made_from"]
        server.shutdown()
        thread.join()


def test_a_genuine_receipt_tells_what_made_its_file(made_from: Callable[[str, bytes], dict[str, Any]]) -> None:
    said = made_from(receipt_of(KEYS[0]), FILE)
    assert (said["model"], said["parameters"]["prompt"], said["artifacts"][0]["seed"]) == ("org/model", "a red fox", 7)


def test_neither_another_file_nor_a_forger_passes(made_from: Callable[[str, bytes], dict[str, Any]]) -> None:
    genuine, forged = receipt_of(KEYS[0]), receipt_of(KEYS[1])
    header, payload, signature = genuine.split(".")
    with pytest.raises(ValueError, match="other files"):
        made_from(genuine, FILE + b"!")
    with pytest.raises(jwt.PyJWKClientError):
        made_from(forged, FILE)
    with pytest.raises(jwt.InvalidSignatureError):
        made_from(f"{header}.{forged.split('.')[1][:-4]}{payload[-4:]}.{signature}", FILE)
