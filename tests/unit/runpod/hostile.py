"""A server on a real socket that does to each request what it is told, and the things it can do."""

import contextlib
import re
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable

EMPTY = b'{"endpoints":[]}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(EMPTY), EMPTY)

Behaviour = Callable[[socket.socket, threading.Event], None]


class Server(socketserver.ThreadingTCPServer):
    """Reads one request after the other and treats each as the next behaviour says; the last one repeats itself."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, behaviours: list[Behaviour]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours = behaviours
        self.stopping = threading.Event()
        self.connections = 0
        self.requests = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.tls: ssl.SSLContext | None = None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next(self) -> Behaviour:
        with self.lock:
            self.requests += 1
            return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        with self.server.lock:
            self.server.connections += 1
        with contextlib.suppress(OSError):
            if self.server.tls is None:
                self._serve()
                return
            with self.server.tls.wrap_socket(self.request, server_side=True) as self.request:
                self._serve()

    def _serve(self) -> None:
        while self._read_request():
            self.server.next()(self.request, self.server.stopping)

    def _read_request(self) -> bool:
        head, end = b"", -1
        while (end := head.find(b"\r\n\r\n")) < 0:
            part = self.request.recv(65536)
            if not part:
                return False
            head += part
        head, body = head[: end + 4], bytearray(head[end + 4 :])
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", head)
        while length is not None and len(body) < int(length[1]):
            body += self.request.recv(1_000_000)
        self.server.heads.append(head)
        self.server.bodies.append(bytes(body))
        return True


def answers(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.sendall(OK)


def hangs(_connection: socket.socket, stopping: threading.Event) -> None:
    stopping.wait(30)


def resets(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def breaks_off(connection: socket.socket, _stopping: threading.Event) -> None:
    connection.sendall(OK[:-4])
    connection.shutdown(socket.SHUT_RDWR)


def drips(connection: socket.socket, stopping: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
    while not stopping.wait(0.02):
        connection.sendall(b" ")
