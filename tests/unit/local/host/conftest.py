from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import end_all, members

# A service as the stack would run one: ready once `GATE` exists, dies with what it was told when BROKEN is set.
SERVICE = """
import http.server, os, pathlib, sys
if os.environ.get("BROKEN"):
    sys.exit("cannot start, the key is " + os.environ["SECRET"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        gate = os.environ.get("GATE")
        ready = gate is None or pathlib.Path(gate).exists()
        body = (os.environ["VISGATE_GATEWAY_PUBLIC_URL"] + " " + os.environ.get("COLOUR", "")).encode()
        self.send_response(200 if ready else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
address = (os.environ["VISGATE_GATEWAY_HOST"], int(os.environ["VISGATE_GATEWAY_PORT"]))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / ".visgate")
    made.make()
    yield made
    end_all(members(made.root), grace_s=1.0)


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds the module `painter`."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "painter.py").write_text(SERVICE)
    return folder


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client
