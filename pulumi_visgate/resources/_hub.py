"""A model hub with Hugging Face's routes: what a revision is, which files it has, and their bytes; no Pulumi."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity import wait_random_exponential as backoff

from pulumi_visgate.hub import protocol
from pulumi_visgate.hub.errors import Gated, HubError, NoSuchRevision, NotOnHub, Passing, TokenRefused
from pulumi_visgate.hub.protocol import ModelInfo
from pulumi_visgate.hub.selection import select
from pulumi_visgate.resources._digest import DIGEST_ATTEMPTS, DigestMismatch, Digests
from pulumi_visgate.resources._manifest import SourceFile
from pulumi_visgate.resources._settings import is_loopback
from visgate_contract.capabilities import MODEL_INDEX

METADATA_ATTEMPTS = 4
METADATA_LIMIT = 32 << 20  # some 100,000 files
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
CONNECTIONS = 32
FRUITLESS_ATTEMPTS = 6
PART_DEADLINE_S = 600.0
LONGEST_WAIT_S = 60.0
INDEX_LIMIT = 1 << 20


class Hub:
    """Asks the hub, each question once in this process.

    Args:
        endpoint: Base URL.
        token: Token of the user, for gated and private models.
    """

    def __init__(self, endpoint: str, token: SecretStr | None = None) -> None:
        self._endpoint = endpoint
        self._token = token
        self._asked: dict[tuple[str, str | None], ModelInfo] = {}
        self._lock = Lock()

    def commit(self, model_id: str, revision: str | None) -> str:
        """Return the commit that a branch or tag is at (`GET /api/models/{id}/revision/{revision}`).

        Args:
            model_id: Hub id of the model.
            revision: Branch, tag or commit; the default branch when left out.

        Raises:
            HubError: There is no such model or revision, it may not be read, or the hub does not answer.
        """
        info = self._info(model_id, revision)
        if info.is_gated and self._token is None:
            raise gated(model_id, has_token=False)
        return info.commit

    def source(self, model_id: str, commit: str, *, variant: str | None, patterns: Sequence[str]) -> "HubSource":
        """Return the chosen files of a model at a commit.

        Args:
            model_id: Hub id of the model.
            commit: 40 hexadecimal digits.
            variant: Variant of the weights.
            patterns: Shell patterns of the files, instead of the usual choice.

        Raises:
            HubError: As for `commit`, and when the model is not in diffusers' format.
        """
        files = [
            SourceFile(file.path, file.size, file.sha256, file.blob_id) for file in self._info(model_id, commit).files
        ]
        index = next((file for file in files if file.path == MODEL_INDEX), None)
        if index is None or index.size > INDEX_LIMIT:
            detail = f"model_id: {model_id} at {commit[:12]} has no {MODEL_INDEX}, so it is not in diffusers' format."
            raise HubError(detail, hint="Choose a model for diffusers.")
        source = HubSource(self._endpoint, model_id, commit, self._token)
        try:
            parts = _parsed(_read_checked(source, index))
            source.files = select(files, parts, variant=variant, patterns=patterns)
        except HubError:
            source.close()
            raise
        return source

    def _info(self, model_id: str, revision: str | None) -> ModelInfo:
        with self._lock:
            if (model_id, revision) not in self._asked:
                info = self._ask(model_id, revision)
                self._asked[model_id, revision] = self._asked[model_id, info.commit] = info
            return self._asked[model_id, revision]

    def _ask(self, model_id: str, revision: str | None) -> ModelInfo:
        with self._in_words(model_id, revision), _client(self._endpoint) as client:
            for attempt in Retrying(
                stop=stop_after_attempt(METADATA_ATTEMPTS),
                wait=_wait,
                retry=retry_if_exception_type((Passing, httpx.TransportError)),
                reraise=True,
            ):
                with attempt:
                    body = self._get(client, model_id, revision)
            return protocol.read_info(model_id, body)

    def _get(self, client: httpx.Client, model_id: str, revision: str | None) -> bytes:
        url = protocol.info_url(self._endpoint, model_id, revision)
        token = self._token.get_secret_value() if self._token else None
        with client.stream("GET", url, headers=protocol.headers(token)) as answer:
            protocol.check(answer.status_code, answer.headers, model_id=model_id, revision=revision)
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > METADATA_LIMIT:
                    detail = f"The hub at {self._endpoint} says more of {model_id} than any model has files."
                    raise HubError(detail)
        return bytes(body)

    @contextmanager
    def _in_words(self, model_id: str, revision: str | None) -> Iterator[None]:
        """Put errors into words, without URL and request, that name the input and the setting."""
        try:
            yield
        except Gated:
            raise gated(model_id, has_token=self._token is not None) from None
        except NoSuchRevision:
            detail = f"revision: {model_id} has no revision {revision!r} on the hub."
            raise HubError(detail, hint="Use a branch, a tag or a full commit of the model.") from None
        except NotOnHub:
            detail = f"model_id: {model_id} is not on the hub at {self._endpoint}, or is private."
            raise HubError(detail, hint=_TOKEN_HINT) from None
        except TokenRefused:
            detail = f"The hub at {self._endpoint} does not accept the given token."
            raise HubError(detail, hint="Make a new one on the hub, and set HF_TOKEN or `visgate:hfToken`.") from None
        except (Passing, httpx.TransportError) as error:
            said = error.detail if isinstance(error, Passing) else f"did not answer ({type(error).__name__})"
            detail = f"The hub at {self._endpoint} {said} when asked for {model_id}."
            raise HubError(detail, hint="Check visgate:hfEndpoint or HF_ENDPOINT, and try again.") from None


def _client(endpoint: str) -> httpx.Client:
    return httpx.Client(
        follow_redirects=True,
        timeout=httpx.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S, pool=None),
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        trust_env=not is_loopback(endpoint),
    )


class HubSource:
    """The files of one commit, read in ranges (RFC 9110, section 14).

    Args:
        endpoint: Base URL of the hub.
        model_id: Hub id of the model.
        commit: Commit that is read.
        token: Token of the user; it is sent to the hub alone, not to where the hub sends us on.
    """

    def __init__(self, endpoint: str, model_id: str, commit: str, token: SecretStr | None) -> None:
        self.files: list[SourceFile] = []
        self.name = f"{model_id} at {commit[:12]}"
        self._model_id = model_id
        self._endpoint = endpoint
        self._commit = commit
        self._token = token
        # A redirect costs the hub a look-up for each part, and its quota; where a file lies is good for minutes.
        self._locations: dict[str, str] = {}
        self._client = _client(endpoint)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, file: SourceFile, start: int, length: int) -> bytes:
        """Return a range of a file; a cut connection is taken up where it was cut.

        Args:
            file: One of the model's.
            start: First byte.
            length: Number of bytes.

        Raises:
            HubError: The hub refuses, or does not give all of it in time.
        """
        got = bytearray()
        end = monotonic() + PART_DEADLINE_S
        fruitless, seen = 0, 0

        def is_hopeless(_state: RetryCallState) -> bool:
            nonlocal fruitless, seen
            fruitless = 0 if len(got) > seen else fruitless + 1
            seen = len(got)
            return fruitless >= FRUITLESS_ATTEMPTS or monotonic() > end

        try:
            for attempt in Retrying(
                stop=is_hopeless,
                wait=_wait,
                retry=retry_if_exception_type((Passing, httpx.TransportError)),
                reraise=True,
            ):
                with attempt:
                    while len(got) < length:
                        self._continue(file, start, length, got, end)
        except (Passing, httpx.TransportError) as error:
            why = error.detail if isinstance(error, Passing) else type(error).__name__
            detail = f"{file.path} of {self.name} could not be read from the hub: {why}."
            raise HubError(detail, hint="Run `pulumi up` again; it goes on where it stopped.") from None
        return bytes(got)

    def _continue(self, file: SourceFile, start: int, length: int, got: bytearray, end: float) -> None:
        first = start + len(got)
        known = self._locations.get(file.path)
        token = self._token.get_secret_value() if self._token and known is None else None
        headers = {"range": f"bytes={first}-{start + length - 1}", **protocol.headers(token)}
        url = known or protocol.file_url(self._endpoint, self._model_id, self._commit, file.path)
        with self._client.stream("GET", url, headers=headers) as answer:
            if answer.is_error:
                self._refused(file, answer)
            if answer.status_code != httpx.codes.PARTIAL_CONTENT and first > 0:
                if start > 0:
                    detail = f"{file.path} of {self.name} cannot be read in ranges."
                    raise HubError(detail)
                got.clear()
            if not self._is_hub(answer):
                self._locations[file.path] = str(answer.url)
            for chunk in answer.iter_raw():
                got += chunk[: length - len(got)]
                if len(got) == length:
                    return
                if monotonic() > end:
                    raise Passing("too slow")  # noqa: EM101, three words
        if len(got) < length:
            raise Passing("the answer is too short")  # noqa: EM101, four words

    def _is_hub(self, answer: httpx.Response) -> bool:
        return urlsplit(str(answer.url)).netloc == urlsplit(self._endpoint).netloc

    def _refused(self, file: SourceFile, answer: httpx.Response) -> None:
        status = answer.status_code
        if not self._is_hub(answer):  # the link has expired
            self._locations.pop(file.path, None)
            raise protocol.passing(status, answer.headers)
        try:
            protocol.check(status, answer.headers, model_id=self._model_id)
        except Passing:
            raise
        except HubError as error:
            if isinstance(error, Gated) or status == httpx.codes.UNAUTHORIZED:
                raise gated(self._model_id, has_token=self._token is not None) from None
            detail = f"{file.path} of {self.name}: the hub answered {status}."
            raise HubError(detail) from None


_TOKEN_HINT = "Check the name; for a private or gated model set HF_TOKEN or `visgate:hfToken` (--secret)."  # noqa: S105, no token


def gated(model_id: str, *, has_token: bool) -> HubError:
    """Return the error for a model whose terms have to be accepted first."""
    detail = f"model_id: {model_id} is gated on the hub, and " + (
        "the given token has no access." if has_token else "no token was given."
    )
    token = "Then" if has_token else "Then set HF_TOKEN or `pulumi config set --secret visgate:hfToken`, and"
    return HubError(detail, hint=f"Accept the model's terms on its page. {token} run again.")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Passing) and error.after_s is not None:
        return min(error.after_s, LONGEST_WAIT_S)
    return float(backoff(multiplier=0.2, max=10)(state))


def _read_checked(source: HubSource, file: SourceFile) -> bytes:
    """Return a whole small file."""
    reading = Retrying(stop=stop_after_attempt(DIGEST_ATTEMPTS), retry=retry_if_exception_type(DigestMismatch))

    def read() -> bytes:
        digests = Digests(file)
        content = source.read(file, 0, file.size)
        digests.update(content)
        digests.verified()
        return content

    try:
        return reading(read)
    except RetryError as error:
        detail = f"{error.last_attempt.exception()} ({DIGEST_ATTEMPTS} attempts)."
        raise HubError(detail) from None


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        index = json.loads(content)
    except ValueError:
        index = None
    if not isinstance(index, dict):
        detail = f"{MODEL_INDEX} of the model is not a JSON object."
        raise HubError(detail)
    return index
