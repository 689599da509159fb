"""A way to a server on which each connection gets so many bytes a second, as at a real store; a process of its own."""

import contextlib
import socket
import sys
import threading
import time

CHUNK = 256 * 1024


def main(port: int, target_port: int, bytes_per_s: float) -> None:
    """Relay connections until killed.

    Args:
        port: Where to listen on the loopback address.
        target_port: Where the server listens.
        bytes_per_s: What each connection gets of the server's answers.
    """
    with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
        while True:
            client, _ = listening.accept()
            server = socket.create_connection(("127.0.0.1", target_port))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_relay, args=(client, server, None), daemon=True).start()
            threading.Thread(target=_relay, args=(server, client, bytes_per_s), daemon=True).start()


def _relay(source: socket.socket, sink: socket.socket, bytes_per_s: float | None) -> None:
    free_at = time.monotonic()
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
            if bytes_per_s is not None:
                # A connection that rested may not make up for it.
                free_at = max(free_at, time.monotonic() - CHUNK / bytes_per_s) + len(data) / bytes_per_s
                time.sleep(max(0.0, free_at - time.monotonic()))
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
