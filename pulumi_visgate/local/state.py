"""What the local cloud remembers between two commands: `.visgate/local/cloud.json`, readable by its owner only."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from time import monotonic, sleep
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer

from pulumi_visgate.local.errors import LocalCloudError, NotRunningError
from pulumi_visgate.local.home import PRIVATE_FILE, Home, write_private
from pulumi_visgate.local.processes import ProcessRef

LOOPBACK = "127.0.0.1"
LOCK_POLL_S = 0.1


class CloudState(BaseModel):
    """Ports, processes and credentials.

    Args:
        ports: Port by part; kept over restarts.
        processes: Process by part, while the cloud is up.
        host_token: Bearer token of the service host's admin routes.
        s3_access_key_id: Access key of the S3 server.
        s3_secret_access_key: Its secret.
    """

    model_config = ConfigDict(extra="forbid")

    ports: dict[str, int] = Field(default_factory=dict)
    processes: dict[str, ProcessRef] = Field(default_factory=dict)
    host_token: SecretStr = Field(default_factory=lambda: SecretStr(secrets.token_urlsafe(32)))
    s3_access_key_id: str = Field(default_factory=lambda: "VG" + secrets.token_hex(9).upper())
    s3_secret_access_key: SecretStr = Field(default_factory=lambda: SecretStr(secrets.token_urlsafe(30)))

    @field_serializer("host_token", "s3_secret_access_key", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()

    @classmethod
    def load(cls, home: Home) -> Self | None:
        """Read the state of a home.

        Returns:
            None when no cloud was ever started there.

        Raises:
            LocalCloudError: The file is damaged.
        """
        try:
            text = home.cloud_file.read_text()
        except FileNotFoundError:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError:  # its message would quote the file, and the file holds secrets
            detail = f"{home.cloud_file} is damaged."
            raise LocalCloudError(detail, hint=f"Remove {home.local} and start again.") from None

    @classmethod
    def running(cls, home: Home) -> Self:
        """Read the state of a cloud that is up.

        Raises:
            NotRunningError: It is not.
        """
        state = cls.load(home)
        if state is None or not state.processes:
            detail = f"The local cloud of {home.root} is not running."
            raise NotRunningError(detail, hint="Start it with `visgate local up`.")
        return state

    def save(self, home: Home) -> None:
        """Write the state of a home."""
        write_private(home.cloud_file, self.model_dump_json(indent=2) + "\n")

    def url(self, part: str) -> str:
        """Return the base URL of a part."""
        return f"http://{LOOPBACK}:{self.ports[part]}"

    def secrets(self) -> tuple[str, ...]:
        """Return the values that no output may show."""
        return (self.host_token.get_secret_value(), self.s3_secret_access_key.get_secret_value())


@contextmanager
def locked(home: Home, *, timeout_s: float = 120.0) -> Iterator[None]:
    """Let one command at a time start or stop the cloud; the lock ends with its process.

    Args:
        home: Whose lock.
        timeout_s: How long to wait for another command.

    Raises:
        LocalCloudError: The other command did not finish in time.
    """
    home.make()
    deadline = monotonic() + timeout_s
    with home.lock_file.open("a") as file:
        home.lock_file.chmod(PRIVATE_FILE)
        while True:
            try:
                flock(file, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > deadline:
                    detail = f"Another command has been starting or stopping the local cloud for {timeout_s:.0f} s."
                    raise LocalCloudError(detail, hint="See what it says, or end it.") from None
                sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            flock(file, LOCK_UN)
