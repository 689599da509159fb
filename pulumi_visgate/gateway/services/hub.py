"""The gateway's way to the model hub: few small reads, one deadline, bounded bodies, each question asked once.

What is kept is the hub's own: which commit a branch is at (for a minute), and what a commit is, which never changes.
Who may read is asked with the caller's own token and remembered under its hash, so that nobody is told what the hub
would not tell them. A commit's facts need one metadata call, the index, and the beginning of one or two files a part.
"""

import asyncio
import hashlib

import httpx

from pulumi_visgate.gateway.services.shared import Shared
from pulumi_visgate.hub import facts, protocol
from pulumi_visgate.hub.errors import HubError, Passing
from pulumi_visgate.hub.facts import ModelFacts
from pulumi_visgate.hub.protocol import ModelInfo, RepoFile
from visgate_contract.errors import ErrorCode

BRANCH_S = 60.0
METADATA_BYTES = 8 << 20
MAX_REDIRECTS = 5
FACTS_S = 3600.0
AT_ONCE = 8


def new_client(endpoint: str, *, timeout_s: float, trust_env: bool) -> httpx.AsyncClient:
    """Return a client for a hub: redirects are followed, but never from https to http, and not far.

    Args:
        endpoint: Base URL of the hub.
        timeout_s: Longest wait for each of connect, write and read, in seconds.
        trust_env: Use the proxies of the environment.
    """

    async def stay_private(request: httpx.Request) -> None:
        if endpoint.startswith("https:") and request.url.scheme != "https":
            detail = "The hub sends its readers on to an address without TLS."
            raise HubError(detail, code=ErrorCode.HUB_UNREACHABLE)

    return httpx.AsyncClient(
        timeout=timeout_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        trust_env=trust_env,
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=10, keepalive_expiry=30.0),
        event_hooks={"request": [stay_private]},
    )


class HubReader:
    """Reads what models are.

    Args:
        endpoint: Base URL of the hub.
        client: What `new_client` returned.
        deadline_s: Longest time for everything about one model, in seconds.
    """

    def __init__(self, endpoint: str, client: httpx.AsyncClient, *, deadline_s: float) -> None:
        self.endpoint = endpoint
        self._client = client
        self._deadline_s = deadline_s
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._infos: Shared[ModelInfo] = Shared(kept_s=BRANCH_S)
        self._opened: Shared[bytes] = Shared(kept_s=BRANCH_S)
        self._facts: Shared[ModelFacts] = Shared(kept_s=FACTS_S)

    async def facts(self, model_id: str, revision: str | None, token: str | None) -> ModelFacts:
        """Return what a model is.

        Args:
            model_id: Hub id.
            revision: Branch, tag or commit; the default branch when left out.
            token: The caller's token.

        Raises:
            HubError: The hub does not have it, does not give it to this token, or it is no diffusers pipeline.
            Passing: The hub did not answer in time.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._read(model_id, revision, token)
        except (TimeoutError, httpx.HTTPError) as error:
            detail = f"The hub did not answer in time when asked for {model_id} ({type(error).__name__})."
            raise Passing(detail) from None

    async def _read(self, model_id: str, revision: str | None, token: str | None) -> ModelFacts:
        as_whom = hashlib.sha256(token.encode()).hexdigest() if token else None

        async def ask_info() -> ModelInfo:
            url = protocol.info_url(self.endpoint, model_id, revision)
            body = await self._get(url, token, METADATA_BYTES, model_id=model_id, revision=revision)
            return protocol.read_info(model_id, body)

        info = await self._infos.get((model_id, revision, as_whom), ask_info)
        file = facts.index_of(info)

        async def ask_index() -> bytes:
            return await self._file(info, file, token, facts.INDEX_BYTES)

        # Also when the facts are known: only who may read the files of a gated model is told of them.
        reader = as_whom if info.is_gated else None
        index = await self._opened.get((model_id, info.commit, reader), ask_index)

        async def ask_facts() -> ModelFacts:
            planned = facts.plan(info, index)
            wanted = (*planned.heads.values(), *planned.configs.values())
            read = await asyncio.gather(*(self._beginning(info, file, token) for file in wanted))
            heads = dict(zip(planned.heads, read, strict=False))
            return facts.facts(planned, heads, dict(zip(planned.configs, read[len(heads) :], strict=True)))

        return await self._facts.get((model_id, info.commit), ask_facts)

    async def _beginning(self, info: ModelInfo, file: RepoFile, token: str | None) -> bytes:
        try:
            return await self._file(info, file, token, facts.HEAD_BYTES)
        except (HubError, httpx.HTTPError):
            return b""  # what it says stays unknown

    async def _file(self, info: ModelInfo, file: RepoFile, token: str | None, limit: int) -> bytes:
        url = protocol.file_url(self.endpoint, info.model_id, info.commit, file.path)
        return await self._get(url, token, limit, model_id=info.model_id, of_file=True)

    async def _get(
        self,
        url: str,
        token: str | None,
        limit: int,
        *,
        model_id: str,
        revision: str | None = None,
        of_file: bool = False,
    ) -> bytes:
        """Return the body of an answer, which is cut at the limit if it is a file, and refused if it is not."""
        span = {"range": f"bytes=0-{limit - 1}"} if of_file else {}
        body = bytearray()
        # A deadline of its own: who asks for others, too, goes on when the first of them has gone.
        async with (
            asyncio.timeout(self._deadline_s),
            self._at_once,
            self._client.stream("GET", url, headers={**protocol.headers(token), **span}) as answer,
        ):
            try:
                protocol.check(answer.status_code, answer.headers, model_id=model_id, revision=revision)
            except Passing as error:
                detail = f"The hub {error.detail} when asked for {model_id}."
                raise Passing(detail, after_s=error.after_s) from None
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    break
        if len(body) > limit and not of_file:
            detail = f"The hub says more of {model_id} than any model has files."
            raise HubError(detail, code=ErrorCode.MODEL_NOT_SUPPORTED)
        return bytes(body[:limit])
