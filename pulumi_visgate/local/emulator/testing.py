"""An emulator for tests: a process of its own, and an object to steer it with.

The pytest plugin hands these out as the fixture `runpod_emulator`.
"""

import contextlib
import hashlib
import json
import secrets
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import httpx

from pulumi_visgate.local.emulator.errors import StartError
from pulumi_visgate.local.emulator.faults import FaultKind

_START_S = 60.0
_STOP_S = 30.0
_KEY_PREFIX = "rpa_"


class EmulatorServer:
    """A running emulator process, which ends with the process that has started it, however that ends.

    Args:
        data: Folder of its database; the same folder again continues where it ended.
        volumes: Folder of its network volumes.
        options: More command line options, such as `--idle-scale 0.1`.
    """

    def __init__(self, data: Path, volumes: Path, options: Sequence[str] = ()) -> None:
        self.data = data
        self.volumes = volumes
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self.api_url = ""
        self.jobs_url = ""
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id, 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it, on the same port as before when there was one.

        Raises:
            StartError: It did not come up.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pulumi_visgate.local.emulator", "--port", str(self.port)]
        command += ["--data", str(self.data), "--volumes", str(self.volumes), "--until-eof", *self._options]
        with (self.data / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603, own command
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        ready = json.loads(self._first_line() or "{}")
        if not ready:
            self.kill()
            log_text = (self.data / "emulator.log").read_text(encoding="utf-8", errors="replace")
            detail = f"The emulator did not start: {log_text.strip()[-2000:] or 'no output'}"
            raise StartError(detail)
        self.api_url, self.jobs_url, self.port = ready["api_url"], ready["jobs_url"], ready["port"]

    def stop(self) -> None:
        """End it politely; it ends its workers."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _first_line(self) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            return b""
        deadline = time.monotonic() + _START_S
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(max(0.0, deadline - time.monotonic())):
                return process.stdout.readline()
        return b""


class RunpodEmulator:
    """What a test does with an emulator.

    Args:
        server: The process.
    """

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server
        self._admin = httpx.Client(base_url=server.api_url, timeout=60.0, trust_env=False, verify=False)  # noqa: S501, plain http on loopback; a TLS context takes 30 ms
        self._key = ""

    @property
    def api_url(self) -> str:
        """Base URL of API v2, for `RUNPOD_API_URL`."""
        return self.server.api_url

    @property
    def jobs_url(self) -> str:
        """Base URL of the job API, for `RUNPOD_JOBS_URL`."""
        return self.server.jobs_url

    @property
    def volumes_dir(self) -> Path:
        """Parent of the folders of network volumes, which are called by the volumes' ids."""
        return self.server.volumes

    @property
    def key(self) -> str:
        """The API key of this test's account."""
        if not self._key:
            self._key = self.new_key()
        return self._key

    @property
    def env(self) -> dict[str, str]:
        """Environment for clients of this test's account."""
        return {"RUNPOD_API_KEY": self.key, "RUNPOD_API_URL": self.api_url, "RUNPOD_JOBS_URL": self.jobs_url}

    def new_key(self) -> str:
        """Return the API key of a new, empty account."""
        return _KEY_PREFIX + secrets.token_hex(20)

    def set_latency(self, ms: float) -> None:
        """Delay every answer of the control and job planes by so many milliseconds."""
        self._call("PUT", "/admin/latency", {"ms": ms})

    def set_quota(self, *, per_minute: int, per_hour: int = 300_000) -> None:
        """Set the request quotas of every account and forget what was spent."""
        self._call("PUT", "/admin/quota", {"per_minute": per_minute, "per_hour": per_hour})

    def bind_templates(self, bind: bool = True) -> None:
        """Let a template that is named at creation belong to the endpoint and be deleted with it."""
        self._call("PUT", "/admin/templates", {"bind": bind})

    def set_quirks(self, *quirks: str) -> None:
        """Switch on what a server may do to its answers, by the names in `quirks.Quirks`; all others go off."""
        self._call("PUT", "/admin/quirks", dict.fromkeys(quirks, True))

    def set_stock(self, name: str, data_center: str | None = None, level: str = "NONE") -> None:
        """Set how much there is of something until the test ends, in the catalog and for new workers alike.

        Args:
            name: GPU type, serverless pool (all of its types) or CPU flavour.
            data_center: Where; everywhere that the catalog has it when left out.
            level: `NONE`, `LOW`, `MEDIUM` or `HIGH`.
        """
        self._call("PUT", "/admin/stock", {"name": name, "data_center": data_center, "level": level})

    def fault(self, kind: FaultKind | str, **rule: object) -> str:
        """Put a fault in force, by default for one event, and return its id.

        Args:
            kind: What goes wrong.
            rule: Fields of `faults.Fault`: operation, method, path, endpoint, times, skip, status, retry_after_s,
                delay_ms.
        """
        return str(self._call("POST", "/admin/faults", {"kind": str(kind), **rule})["id"])

    def clear_faults(self, identifier: str | None = None) -> None:
        """Take one fault, or all, out of force."""
        self._call("DELETE", "/admin/faults" if identifier is None else f"/admin/faults/{identifier}")

    def requests(self, key: str | None = None) -> dict[str, int]:
        """Return how many requests each operation has had, from one account or from all."""
        query = f"?account={account_of(key)}" if key is not None else ""
        return cast("dict[str, int]", self._call("GET", f"/admin/requests{query}")["requests"])

    def reset_requests(self) -> None:
        """Start to count requests again."""
        self._call("DELETE", "/admin/requests")

    def map_image(self, image: str, command: str | Sequence[str]) -> None:
        """Let a command stand for an image reference or repository, until the test ends."""
        line = command if isinstance(command, str) else shlex.join(command)
        self._call("PUT", "/admin/images", {"image": image, "command": line})

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: idle times, time limits, retention and bills all see it."""
        self._call("POST", "/admin/clock", {"advance_s": seconds})

    def make_inactive(self, endpoint: str, days: int) -> None:
        """Let an endpoint appear unused for 3 or 7 days."""
        self._call("POST", "/admin/inactivity", {"endpoint": endpoint, "days": days})

    def accounts(self) -> list[dict[str, Any]]:
        """Return what every account has left."""
        return cast("list[dict[str, Any]]", self._call("GET", "/admin/accounts")["accounts"])

    def account(self, key: str | None = None) -> dict[str, Any]:
        """Return what one account, this test's by default, has left; `empty` is true for nothing."""
        wanted = account_of(key or self.key)
        return next((found for found in self.accounts() if found["id"] == wanted), {"id": wanted, "empty": True})

    def workers(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Return id, endpoint, state and process id of the workers that run."""
        workers = cast("list[dict[str, Any]]", self._call("GET", "/admin/health")["workers"])
        return [worker for worker in workers if endpoint in {None, worker["endpoint"]}]

    def reset(self) -> None:
        """Put everything back to how it was started, without accounts; only time does not go back."""
        self._call("POST", "/admin/reset")

    def close(self) -> None:
        """Close the connection to the admin routes."""
        self._admin.close()

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        answer = self._admin.request(method, path, json=body)
        if answer.is_error:
            detail = f"{method} {path}: {answer.text}"
            raise StartError(detail)
        content: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            content = answer.json()
        return content


def account_of(key: str) -> str:
    """Return the account id of an API key: its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()
