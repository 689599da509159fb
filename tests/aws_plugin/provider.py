"""The plugin's gRPC face: Pulumi's provider protocol over the kinds."""

import sys
import traceback
from concurrent import futures
from typing import Any

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.aws_plugin import compute, edge, storage  # noqa: F401, they fill KINDS
from tests.aws_plugin.kinds import KINDS, Aws, Kind, Values, gone

VERSION = "7.51.1"
_SUFFIX = 7
_INTERNAL = "__defaults"


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Carries out what the engine asks."""

    def __init__(self) -> None:
        self.aws = Aws()

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802, named by the protocol
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return provider_pb2.DiffResponse()

    def Configure(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True, acceptResources=False)

    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test's plugin does not know {request.tok}")

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind = _kind(request.urn, context)
        news, olds = _plain(request.news), _plain(request.olds)
        if kind.named and not news.get(kind.named):
            prefix = news.get(f"{kind.named}Prefix") or f"{_name(request.urn)}-"
            kept = str(olds.get(kind.named, ""))
            news[kind.named] = kept if kept.startswith(prefix) else prefix + request.randomSeed.hex()[:_SUFFIX]
        return provider_pb2.CheckResponse(inputs=_struct(news))

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind = _kind(request.urn, context)
        olds, news = _plain(request.old_inputs), _plain(request.news)
        changed = sorted(key for key in {*olds, *news} if olds.get(key) != news.get(key))
        replaces = [key for key in changed if key in kind.fixed or kind.update is None]
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some if changed else none,
            diffs=changed,
            replaces=replaces,
            deleteBeforeReplace=bool(replaces) and kind.takes_back,
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind, values = _kind(request.urn, context), _plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(id="", properties=_struct(values))
        id_, told = _asked(context, request.urn, lambda: kind.create(self.aws, values))
        return provider_pb2.CreateResponse(id=id_, properties=_struct({**values, **told}))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind, values = _kind(request.urn, context), _plain(request.properties)

        def look() -> Values | None:
            try:
                return kind.read(self.aws, request.id, values)
            except ClientError as error:
                if gone(error):
                    return None
                raise

        observed = _asked(context, request.urn, look)
        if observed is None:
            return provider_pb2.ReadResponse()
        inputs = _plain(request.inputs)
        inputs |= {key: value for key, value in observed.items() if key in inputs}
        return provider_pb2.ReadResponse(
            id=request.id, inputs=_struct(inputs), properties=_struct({**values, **observed})
        )

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind, news, olds = _kind(request.urn, context), _plain(request.news), _plain(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_struct({**olds, **news}))
        change = kind.update
        assert change is not None, "a replacement was asked for"
        told = _asked(context, request.urn, lambda: change(self.aws, request.id, {**olds, **news}))
        return provider_pb2.UpdateResponse(properties=_struct({**olds, **news, **told}))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        kind, values = _kind(request.urn, context), _plain(request.properties)

        def remove() -> None:
            try:
                kind.delete(self.aws, request.id, values)
            except ClientError as error:
                if not gone(error):
                    raise

        _asked(context, request.urn, remove)
        return empty_pb2.Empty()


def _asked(context: Any, urn: str, call: Any) -> Any:
    try:
        return call()
    except (ClientError, BotoCoreError, KeyError, TypeError) as error:
        trace = "" if isinstance(error, ClientError) else traceback.format_exc()
        context.abort(grpc.StatusCode.INTERNAL, f"{_name(urn)}: {error}{trace}")


def _kind(urn: str, context: Any) -> Kind:
    token = urn.split("::")[2].rpartition("$")[2]
    found = KINDS.get(token)
    if found is None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test's plugin does not know {token}")
        raise AssertionError  # abort has raised
    return found


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _plain(struct: Any) -> Values:
    found: Values = _value(struct)
    found.pop(_INTERNAL, None)
    return found


def _value(value: Any) -> Any:
    """Return protobuf's values as Python's; whole numbers are such."""
    match type(value).__name__:
        case "Struct":
            return {key: _value(item) for key, item in value.fields.items()}
        case "Value":
            which = value.WhichOneof("kind")
            return None if which in (None, "null_value") else _value(getattr(value, which))
        case "ListValue":
            return [_value(item) for item in value.values]
        case "float":
            return int(value) if float(value).is_integer() else value
    return value


def _struct(values: Values) -> Any:
    from google.protobuf import struct_pb2

    made = struct_pb2.Struct()
    made.update({key: value for key, value in values.items() if value is not None})
    return made


def main() -> None:
    """Serve until the engine ends; its end closes the standard input of nobody, so it kills this process."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
