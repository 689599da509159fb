"""Installs a tool from its official release archive, checked against the pinned SHA-256."""

import shutil
import socket
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tools.provision.errors import ProvisionError
from tools.provision.pins import Archive
from tools.provision.store import require_digest

CONNECT_TIMEOUT_S = 4.0
_READ_TIMEOUT_S = 30.0


def install(archive: Archive, folder: Path, say: Callable[[str], None]) -> None:
    """Downloads an archive and unpacks its programs into `folder`.

    Raises:
        ProvisionError: The host is out of reach, the transfer broke, or the archive is not the pinned one.
    """
    _require_reachable(archive.url)
    say(f"downloading {archive.url}")
    packed = folder.parent / "archive.tar.gz"
    try:
        # The scheme is fixed by the pins, the content by its checksum.
        with (
            urllib.request.urlopen(archive.url, timeout=_READ_TIMEOUT_S) as response,  # noqa: S310
            packed.open("wb") as target,
        ):
            shutil.copyfileobj(response, target, 1 << 20)
    except (OSError, urllib.error.URLError) as error:
        message = f"{archive.url} could not be downloaded ({error})"
        raise ProvisionError(message) from error
    require_digest(packed, archive.sha256)
    _unpack(packed, folder)


def _unpack(packed: Path, folder: Path) -> None:
    """Takes the executable files out of an archive, without its folders."""
    try:
        with tarfile.open(packed) as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isfile() and member.mode & 0o100 else None
                if source is None:
                    continue
                target = folder / Path(member.name).name
                with source, target.open("wb") as handle:
                    shutil.copyfileobj(source, handle, 1 << 20)
                target.chmod(0o755)
    except tarfile.TarError as error:
        message = f"the archive could not be unpacked ({error})"
        raise ProvisionError(message) from error


def _require_reachable(url: str) -> None:
    """Gives up within seconds where a name does not resolve or a firewall drops packets.

    A name look-up has no timeout of its own, so it runs in a thread that is left behind.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in urllib.request.getproxies():
        return
    host, port = parts.hostname or "", parts.port or 443
    outcome: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
            outcome.append("")
        except OSError as error:
            outcome.append(error.strerror or str(error))

    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(CONNECT_TIMEOUT_S)
    problem = outcome[0] if outcome else f"no answer in {CONNECT_TIMEOUT_S:.0f} s"
    if problem:
        message = f"{host} cannot be reached ({problem})"
        raise ProvisionError(message)
