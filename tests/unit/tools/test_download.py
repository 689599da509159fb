"""The download against a server of our own on the loopback."""

import hashlib
import http.server
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.provision import download
from tools.provision.errors import ProvisionError
from tools.provision.pins import Archive


def packed(members: dict[str, int]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, mode in members.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
        link = tarfile.TarInfo("pulumi/link")
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, "/etc/passwd", 0o755
        archive.addfile(link)
    return buffer.getvalue()


CONTENT = packed({"pulumi/pulumi": 0o755, "pulumi/README.md": 0o644, "../../outside": 0o755})


@pytest.fixture
def server_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/archive.tar.gz"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(CONTENT if found else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "partial" / "content"
    made.mkdir(parents=True)
    return made


def quiet(_line: str) -> None:
    pass


def test_only_programs_are_unpacked_and_none_leaves_the_folder(server_url: str, folder: Path, tmp_path: Path) -> None:
    archive = Archive(f"{server_url}/archive.tar.gz", hashlib.sha256(CONTENT).hexdigest())

    download.install(archive, folder, quiet)

    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "pulumi": "pulumi/pulumi",
        "outside": "../../outside",
    }
    assert (folder / "pulumi").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "outside").exists()


def test_an_archive_with_another_checksum_is_not_unpacked(server_url: str, folder: Path) -> None:
    archive = Archive(f"{server_url}/archive.tar.gz", "0" * 64)

    with pytest.raises(ProvisionError, match="instead of the pinned one"):
        download.install(archive, folder, quiet)
    assert list(folder.iterdir()) == []


def test_an_archive_that_is_not_there_is_an_error(server_url: str, folder: Path) -> None:
    with pytest.raises(ProvisionError, match=r"could not be downloaded .*404"):
        download.install(Archive(f"{server_url}/other.tar.gz", "0" * 64), folder, quiet)


def test_a_silent_network_is_given_up_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(10)
        raise OSError

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr("socket.create_connection", hang)
    started = time.monotonic()
    with pytest.raises(ProvisionError, match=r"releases\.invalid cannot be reached"):
        download.install(Archive("https://releases.invalid/archive.tar.gz", "0" * 64), folder, quiet)
    released.set()
    assert time.monotonic() - started < 5
