"""Who is calling: taken from the request's header or body, checked for its shape only. Runpod judges the key."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.http import HTTPBase

from pulumi_visgate.gateway import masking
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.middleware import carried
from pulumi_visgate.gateway.problems import InvalidField, MissingKey
from pulumi_visgate.gateway.services import geography
from pulumi_visgate.gateway.state import State
from visgate_contract.names import user_hash

_KEY = re.compile(r"[A-Za-z0-9_.-]{8,200}")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{4,200}")

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="RunpodApiKey",
    description="Your own Runpod API key. It is used for this request and stored nowhere.",
)
fal_key = HTTPBase(
    scheme="Key",
    auto_error=False,
    scheme_name="FalKey",
    description="Your own Runpod API key, sent as fal's clients send theirs.",
)
HF_HEADER = "X-HF-Token"
hf_header = APIKeyHeader(
    name=HF_HEADER,
    auto_error=False,
    scheme_name="HuggingFaceToken",
    description="Hugging Face token, only for gated models that no volume of yours holds.",
)


async def _body(request: Request) -> Mapping[str, Any]:
    if request.method != "POST" or not await request.body():
        return {}
    try:
        found = await request.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def authenticate(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    hf_token: Annotated[str | None, Depends(hf_header)],
) -> Caller:
    """Return the caller of a request.

    The key comes as a bearer token or, for clients of the upstream service, as `user_runpod_key` in the body.

    Raises:
        MissingKey: There is no key, or nothing that could be one.
        InvalidField: The Hugging Face token is malformed.
    """
    body = await _body(request)
    key = credentials.credentials if credentials is not None else body.get("user_runpod_key")
    field = HF_HEADER if hf_token else "hf_token"
    return caller_of(request, key, hf_token or body.get("hf_token"), token_field=field)


async def authenticate_fal(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(fal_key)],
    hf_token: Annotated[str | None, Depends(hf_header)],
) -> Caller:
    """Return the caller of a request of fal's clients, which send their key as `Key`.

    Raises:
        MissingKey: There is no key, or nothing that could be one.
        InvalidField: The Hugging Face token is malformed.
    """
    is_key = credentials is not None and credentials.scheme.lower() in carried.KEY_SCHEMES
    key = credentials.credentials if credentials is not None and is_key else None
    return caller_of(request, key, hf_token, token_field=HF_HEADER, scheme="Key")


def caller_of(request: Request, key: object, token: object, *, token_field: str, scheme: str = "Bearer") -> Caller:
    """Return the caller that a key and a Hugging Face token make.

    Args:
        request: The request.
        key: What was sent as Runpod key.
        token: What was sent as Hugging Face token; None if nothing was.
        token_field: Where the token was.
        scheme: How the key is to be sent.

    Raises:
        MissingKey: The key could not be one.
        InvalidField: The token could not be one.
    """
    masking.current().learn(value for value in (key, token) if isinstance(value, str))
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise MissingKey(scheme)
    if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
        raise InvalidField(field=token_field, detail="is not a Hugging Face token.", hint="Tokens look like hf_….")
    state = State.of(request)
    identity = user_hash(key)
    keys = state.keys.of(identity)
    masking.current().learn([*keys.secrets, keys.webhook_key])
    return Caller(identity, keys, state.runpod(key), token, geography.of_caller(request.headers))


CurrentCaller = Annotated[Caller, Depends(authenticate)]
FalCaller = Annotated[Caller, Depends(authenticate_fal)]
