"""A webhook receiver on loopback, as an application would have one: it checks the signature before it believes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic

from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from visgate_contract.events import Event

MAX_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that came in.

    Args:
        message_id: `webhook-id`.
        event: The event; None if it was none.
        verified: The signature and the time are right.
        body: The bytes that came.
    """

    message_id: str
    event: Event | None
    verified: bool
    body: bytes


class Receiver:
    """Takes webhooks; each event comes out once, however often it is delivered.

    Args:
        secret: Of the caller, `whsec_…`.
    """

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._queue: SimpleQueue[Delivery] = SimpleQueue()
        self._seen: set[str] = set()
        self._lock = Lock()
        self.url = ""

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Take one delivery.

        Args:
            headers: Of the request, names in lower case.
            body: Its exact bytes.

        Returns:
            HTTP status of the answer.
        """
        message_id = headers.get("webhook-id", "")
        try:
            self._webhook.verify(body, headers)
            event = Event.model_validate_json(body)
        except (WebhookVerificationError, ValidationError, ValueError):
            self._queue.put(Delivery(message_id, None, verified=False, body=body))
            return 401
        with self._lock:
            repeated = message_id in self._seen
            self._seen.add(message_id)
        if not repeated:
            self._queue.put(Delivery(message_id, event, verified=True, body=body))
        return 204

    def deliveries(self, *, timeout_s: float) -> Iterator[Delivery]:
        """Yield deliveries as they come; end when the time is up.

        Args:
            timeout_s: For all of them together, in seconds.
        """
        deadline = monotonic() + timeout_s
        while (left_s := deadline - monotonic()) > 0:
            try:
                yield self._queue.get(timeout=left_s)
            except Empty:
                return


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    """Run a receiver on a free loopback port.

    Args:
        secret: Of the caller, `whsec_…`.
    """
    receiver = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            status = 413
            if length <= MAX_BODY_BYTES:
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.take(headers, self.rfile.read(length))
            else:
                self.close_connection = True
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            """Say nothing: standard error is the progress display's."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/webhooks"
        thread = Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="webhook receiver", daemon=True
        )
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
