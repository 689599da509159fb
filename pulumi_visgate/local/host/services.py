"""Services of the stack as child processes: started from a specification, kept while it stays the same, restarted."""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import Home, write_private
from pulumi_visgate.local.logs import size_of, tail
from pulumi_visgate.local.processes import ProcessRef, free_port, python_module, spawn
from visgate_contract.redaction import Redactor

READY_S = 60.0
MAX_RESTARTS = 5
_POLL_S = 0.1
_WATCH_S = 0.5
_STABLE_S = 60.0
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ServiceSpec(BaseModel):
    """What to run.

    Args:
        module: Python module, run with `-m` in the host's own interpreter.
        env: Its environment, besides the host's own; kept in memory only.
        env_prefix: Address variables are `{prefix}HOST`, `{prefix}PORT` and `{prefix}PUBLIC_URL`; each is set unless
            `env` has it.
        ready_path: Answers 200 when the service can take requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")]
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], SecretStr] = Field(default_factory=dict)
    env_prefix: str = "VISGATE_GATEWAY_"
    ready_path: Annotated[str, Field(pattern=r"^/")] = "/readyz"

    def digest(self, key: bytes) -> str:
        """Return what changes when anything of it does; keyed, as it covers secrets.

        Args:
            key: Secret of the host.
        """
        plain = self.model_dump() | {"env": self.plain_env()}
        return hmac.new(key, json.dumps(plain, sort_keys=True).encode(), hashlib.sha256).hexdigest()

    def plain_env(self) -> dict[str, str]:
        """Return the environment with its secrets in clear."""
        return {name: value.get_secret_value() for name, value in self.env.items()}


class ServiceRecord(BaseModel):
    """What is known of a service without its environment; survives the host.

    Args:
        name: Name of the service.
        module: Python module it runs.
        port: Loopback port; stays the same over restarts.
        spec_digest: Of the specification it was started from.
        process: Its process.
        restarts: How often the host has started it again after it ended by itself.
        started_at: When it last became ready.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    module: str
    port: int
    spec_digest: str
    process: ProcessRef
    restarts: int = 0
    started_at: datetime

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


class ServiceFailedError(LocalCloudError):
    """A service did not become ready; the detail ends with the last lines of its log."""


@dataclass(slots=True)
class _Running:
    record: ServiceRecord
    spec: ServiceSpec | None  # None after the host itself was restarted


class Services:
    """Starts, keeps and ends services.

    Args:
        home: Where records and logs are.
        environment: What every service inherits.
        digest_key: Secret of the host, for digests.
        http: Asks for readiness.
        ready_s: How long a service may take to become ready, in seconds.
    """

    def __init__(
        self,
        home: Home,
        environment: Mapping[str, str],
        *,
        digest_key: bytes,
        http: httpx.AsyncClient,
        ready_s: float = READY_S,
    ) -> None:
        self._home = home
        self._environment = dict(environment)
        self._digest_key = digest_key
        self._http = http
        self._ready_s = ready_s
        self._running: dict[str, _Running] = {record.name: _Running(record, None) for record in load_records(home)}
        self._locks: dict[str, asyncio.Lock] = {}

    def get(self, name: str) -> ServiceRecord | None:
        """Return a service, whether it lives or not."""
        running = self._running.get(name)
        return running.record if running else None

    def all(self) -> list[ServiceRecord]:
        """Return every service."""
        return [running.record for _, running in sorted(self._running.items())]

    async def ensure(self, name: str, spec: ServiceSpec) -> ServiceRecord:
        """Make a service run as specified; one that does already is left alone.

        Raises:
            ServiceFailedError: It did not become ready.
        """
        async with self._lock(name):
            digest = spec.digest(self._digest_key)
            known = self._running.get(name)
            if known and known.record.spec_digest == digest and known.record.process.alive:
                known.spec = spec
                return known.record
            if known:
                await asyncio.to_thread(known.record.process.stop)
            return await self._start(name, spec, digest, port=known.record.port if known else None, restarts=0)

    async def remove(self, name: str) -> bool:
        """End a service and forget it.

        Returns:
            False if there was none.
        """
        async with self._lock(name):
            running = self._running.pop(name, None)
            if running is None:
                return False
            await asyncio.to_thread(running.record.process.stop)
            self._record_file(name).unlink(missing_ok=True)
            return True

    async def stop_all(self) -> None:
        """End every service; their records stay, so that ports stay the same."""
        records = [running.record for running in self._running.values()]
        await asyncio.gather(*(asyncio.to_thread(record.process.stop) for record in records))

    async def watch(self) -> None:
        """Start services again that end by themselves, until cancelled."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for name in list(self._running):
                async with self._lock(name):
                    await self._revive(name)

    async def _revive(self, name: str) -> None:
        running = self._running.get(name)
        if running is None or running.spec is None or running.record.process.alive:
            return
        record, spec = running.record, running.spec
        lasted = (datetime.now(UTC) - record.started_at).total_seconds()
        restarts = 0 if lasted > _STABLE_S else record.restarts
        if restarts >= MAX_RESTARTS:
            running.spec = None  # given up: the next `pulumi up` starts it anew
            return
        try:
            await self._start(name, spec, record.spec_digest, port=record.port, restarts=restarts + 1)
        except ServiceFailedError:
            running.record = record.model_copy(update={"restarts": restarts + 1})

    async def _start(
        self, name: str, spec: ServiceSpec, digest: str, *, port: int | None, restarts: int
    ) -> ServiceRecord:
        port = free_port(port)
        url = f"http://127.0.0.1:{port}"
        address = {"HOST": "127.0.0.1", "PORT": str(port), "PUBLIC_URL": url}
        environment = self._environment | {spec.env_prefix + key: value for key, value in address.items()}
        log_file = self._home.log_file(name)
        logged = size_of(log_file)
        process = spawn(python_module(spec.module), environment | spec.plain_env(), log_file)
        record = ServiceRecord(
            name=name,
            module=spec.module,
            port=port,
            spec_digest=digest,
            process=process,
            restarts=restarts,
            started_at=datetime.now(UTC),
        )
        # Written before it is ready: whatever happens to the host now, the process is known.
        write_private(self._record_file(name), record.model_dump_json(indent=2) + "\n")
        self._running[name] = _Running(record, spec)
        reason = await self._until_ready(process, url + spec.ready_path)
        if reason is None:
            return record
        await asyncio.to_thread(process.stop)
        masked = Redactor(spec.plain_env().values()).text("\n".join(tail(log_file, since=logged)))
        detail = f"Service {name} ({spec.module}) {reason}. The end of its log:\n{masked}"
        raise ServiceFailedError(detail, hint=f"The whole log is {log_file}.")

    async def _until_ready(self, process: ProcessRef, url: str) -> str | None:
        """Return None when it is ready, else why not."""
        deadline = monotonic() + self._ready_s
        while monotonic() < deadline:
            if not process.alive:
                return "ended before it was ready"
            try:
                if (await self._http.get(url)).status_code == httpx.codes.OK:
                    return None
            except httpx.HTTPError:
                pass
            await asyncio.sleep(_POLL_S)
        return f"was not ready after {self._ready_s:.0f} s"

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _record_file(self, name: str) -> Path:
        return self._home.services / f"{name}.json"


def load_records(home: Home) -> list[ServiceRecord]:
    """Read the records of every service that a host of this home has started; a damaged one is skipped."""
    records = []
    for file in sorted(home.services.glob("*.json")):
        try:
            records.append(ServiceRecord.model_validate_json(file.read_bytes()))
        except (OSError, ValidationError):
            continue
    return records
