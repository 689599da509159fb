"""Who calls: an account by its API key, or a worker by a token of its own. Only hashes of both are kept."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from pulumi_visgate.local.emulator.errors import forbidden, unauthorized
from pulumi_visgate.local.emulator.store import Store

_KEY = re.compile(r"[A-Za-z0-9_\-]{16,256}")
_TOKEN_PREFIX = "rpw_"  # noqa: S105, a prefix, not a secret
_OWN_ENDPOINT = frozenset({"getEndpoint", "updateEndpoint", "deleteEndpoint", "listEndpointWorkers", "health"})


class Scope(StrEnum):
    """What a credential is good for."""

    ACCOUNT = "account"
    OWN_ENDPOINT = "own endpoint"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Args:
        account: SHA-256 of the account's API key.
        scope: What the credential is good for.
        endpoint: The only endpoint it is good for.
        worker: The worker it was given to.
    """

    account: str
    scope: Scope = Scope.ACCOUNT
    endpoint: str | None = None
    worker: str | None = None

    def allow(self, operation: str, endpoint: str | None, *, plane: str) -> None:
        """Check the scope.

        Raises:
            Problem: 403.
        """
        if self.scope is Scope.ACCOUNT:
            return
        own = endpoint is not None and endpoint == self.endpoint
        if self.scope is Scope.JOBS and own and plane == "jobs":
            return
        if self.scope is Scope.OWN_ENDPOINT and own and operation in _OWN_ENDPOINT:
            return
        detail = "access denied"
        raise forbidden(detail)


class Identity:
    """Accounts and worker tokens.

    Args:
        store: Where it remembers which accounts exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens: dict[str, Caller] = {}
        self._seen: set[str] = set(store.recall("accounts", []))

    def caller(self, authorization: str | None, *, bare: bool = False) -> Caller:
        """Return who sent an `Authorization` header.

        Args:
            authorization: The header.
            bare: Accept the credential without `Bearer`, as the SDK sends it.

        Raises:
            Problem: 401.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            credential = scheme if bare else ""
        credential = credential.strip()
        if not credential:
            detail = "missing bearer token"
            raise unauthorized(detail)
        digest = hashlib.sha256(credential.encode()).hexdigest()
        if credential.startswith(_TOKEN_PREFIX):
            worker = self._tokens.get(digest)
            if worker is None:
                detail = "this worker's token is no longer valid"
                raise unauthorized(detail)
            return worker
        if not _KEY.fullmatch(credential):
            detail = "invalid api key"
            raise unauthorized(detail)
        if digest not in self._seen:
            self._seen.add(digest)
            self._store.remember("accounts", sorted(self._seen))
        return Caller(digest)

    def issue(self, account: str, endpoint: str, worker: str, scope: Scope) -> str:
        """Return a new token of a worker."""
        token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
        self._tokens[hashlib.sha256(token.encode()).hexdigest()] = Caller(account, scope, endpoint, worker)
        return token

    def revoke(self, worker: str) -> None:
        """Make the tokens of a worker invalid."""
        self._tokens = {digest: caller for digest, caller in self._tokens.items() if caller.worker != worker}

    def accounts(self) -> list[str]:
        """Return every account that was ever seen."""
        return sorted(self._seen)

    def forget(self, account: str) -> None:
        """Forget an account."""
        self._seen.discard(account)
        self._store.remember("accounts", sorted(self._seen))
