"""Between Pulumi's dynamic provider host and `_crud`: settings, unknowns, check failures, errors, secret outputs.

Three facts about that host shape this module. It pickles the provider object into the state, so providers have no
attributes before `configure` and claim the module `pulumi_visgate.providers`, whose names never change. It strips
secretness, so secret outputs are named for the engine. It prints the traceback of any exception, and the engine prints
the value of the property that a check failure names, so both are kept free of secrets here.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ClassVar, NoReturn, ParamSpec, Self, TypedDict, TypeVar, cast

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.output import Unknown

from pulumi_visgate.resources._crud import Crud
from pulumi_visgate.resources._engine_log import engine_log
from pulumi_visgate.resources._lifeline import end_with_engine
from pulumi_visgate.resources._named import Unresolved, id_by_name
from pulumi_visgate.resources._report import Silent
from pulumi_visgate.resources._session import Session, session_for
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources._values import UNKNOWN
from pulumi_visgate.resources.errors import ConfigError, ResourceError
from visgate_contract.errors import VisgateError
from visgate_contract.redaction import Redactor

PROVIDERS_MODULE = "pulumi_visgate.providers"
# How Pulumi's protocol and files mark a secret value.
SIGNATURE_KEY, SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
_PROVIDER_KEY = "__provider"
_HOST_MODULE = "pulumi.dynamic.__main__"

P = ParamSpec("P")
T = TypeVar("T")


class Provider(ResourceProvider):
    """Base of the dynamic providers; a subclass names its `crud`."""

    serialize_as_secret_always = False  # the pickle is a class name
    crud: ClassVar[type[Crud]]

    _session: Session | None = None
    _config_error: ConfigError | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__module__ = PROVIDERS_MODULE

    def configure(self, req: ConfigureRequest) -> None:
        """Read the settings; what is wrong with them is told by `check`, which can name it."""
        _quiet_tracebacks()
        if _in_host():
            end_with_engine()
        try:
            self._session = session_for(Settings.read(req.config.get, os.environ))
            if _in_host() and isinstance(self._session.report, Silent):
                self._session.report = engine_log(self._session.redactor) or self._session.report
        except ConfigError as error:
            self._config_error = error

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Validate inputs and fill in defaults."""

        def checked() -> CheckResult:
            crud = self._crud()
            values, problems = crud.check(_from_pulumi(_olds), _from_pulumi(news))
            shown = self._redactor().text
            failures = []
            for problem in problems:
                # The engine prints the value of a named property, so only harmless ones are named as such.
                harmless = problem.property in news and problem.property not in crud.secret
                reason = problem.reason if harmless else f"{problem.property}: {problem.reason}"
                failures.append(CheckFailure(problem.property if harmless else "", shown(reason)))
            return CheckResult(_to_pulumi(values), failures)

        try:
            return checked()
        except VisgateError as error:
            return CheckResult(_plain(news), [CheckFailure("", self._redactor().text(self._in_words(error)))])
        except Exception as error:  # noqa: BLE001, the border to the host
            self._fail("Checking", error)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Tell update from replacement."""
        change = self._guard("Comparing", lambda: self._crud().diff(_from_pulumi(_olds), _from_pulumi(_news)))
        return DiffResult(
            changes=bool(change.changed), replaces=list(change.replaces), delete_before_replace=change.delete_first
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create, or find what an interrupted run made."""
        id_, outs = self._guard("Creating", lambda: self._crud().create(_from_pulumi(props)))
        return CreateResult(id_, _to_pulumi(outs))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read what is there; gone is id None with empty outputs."""
        known = _from_pulumi(props)
        # What has a name but none is known of was not made here: a program reads it without owning it.
        foreign = "name" in self.crud.model.model_fields and not known.get("name")
        found = self._guard("Reading", lambda: self._crud().describe(id_) if foreign else self._crud().read(id_, known))
        if found is None:
            return ReadResult(None, {})
        return ReadResult(id_, self._sealed(found.outs), self._sealed(found.inputs))

    def _sealed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Mark what is secret: the engine itself does so only where something secret was known before."""
        return {
            name: {SIGNATURE_KEY: SECRET_SIGNATURE, "value": value} if name in self.crud.secret else value
            for name, value in _to_pulumi(values).items()
        }

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Change what differs."""
        outs = self._guard("Updating", lambda: self._crud().update(_id, _from_pulumi(_olds), _from_pulumi(_news)))
        return UpdateResult(_to_pulumi(outs))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete; gone is done."""
        self._guard("Deleting", lambda: self._crud().delete(_id, _from_pulumi(_props)))

    def _crud(self) -> Crud:
        if self._session is None:
            raise self._config_error or ConfigError("The provider is not configured.")
        return self.crud(self._session)

    def _redactor(self) -> Redactor:
        return self._session.redactor if self._session else Redactor()

    def _guard(self, doing: str, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except Exception as error:  # noqa: BLE001, the border to the host
            self._fail(doing, error)

    def _in_words(self, error: VisgateError) -> str:
        return str(error) if self._session is None else self._session.in_words(error)

    def _fail(self, doing: str, error: Exception) -> NoReturn:
        if isinstance(error, VisgateError):
            reason = self._in_words(error)
        else:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
            reason = f"{type(error).__name__} at {where}. This is a fault of pulumi-visgate: please report it."
        text = self._redactor().text(f"{doing} {self.crud.kind} failed: {reason}")
        raise ProviderFailedError(text) from None


class ProviderFailedError(ResourceError):
    """What the host is given to print."""


class ResourceArgs(TypedDict, total=False):
    """Arguments that every resource takes."""

    tags: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """What you want to say of it, such as a cost center; Runpod has no tags, so they are in previews and the state."""


class VisgateResource(Resource, module="visgate", name="Resource"):
    """Base of the resources of this library.

    Args:
        provider: Provider of the resource.
        resource_name: Name in the program.
        args: Inputs; None counts as left out.
        opts: Options of the resource.
    """

    tags: pulumi.Output[dict[str, str] | None]

    def __init__(
        self,
        provider: Provider,
        resource_name: str,
        args: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        if opts is not None and opts.import_ is not None:
            detail = f"{resource_name}: Pulumi does not tell a dynamic provider what to import, so import_ cannot work."
            raise Unresolved(detail, hint="Use adopt=True with the name it has at Runpod, or `visgate import`.")
        crud = provider.crud
        props: dict[str, Any] = {name: None for name in (*crud.model.model_fields, *crud.outputs)}
        props |= {name: value for name, value in args.items() if value is not None}
        if "owner" in crud.model.model_fields:
            props["owner"] = f"{pulumi.get_project()}/{pulumi.get_stack()}/{resource_name}"
        for name in crud.secret:
            if props.get(name) is not None:
                props[name] = pulumi.Output.secret(props[name])
        secret = sorted(crud.secret)
        own = pulumi.ResourceOptions(additional_secret_outputs=secret) if secret else None
        super().__init__(provider, resource_name, props, pulumi.ResourceOptions.merge(own, opts))

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
        *,
        name: pulumi.Input[str] | None = None,
    ) -> Self:
        """Read something that exists and that this program does not own: it is never changed nor deleted.

        Args:
            resource_name: Name in the program.
            id: Id at the API.
            opts: Options of the resource.
            name: Name at the API, instead of the id; there must be exactly one of it.

        Raises:
            Unresolved: Neither or both of id and name are given, or resources of this kind have no names.
        """
        if (id is None) == (name is None):
            detail = f"{cls.__name__}.get({resource_name!r}): give either id or name."
            raise Unresolved(detail)
        if id is None:
            id = id_by_name([kind.__name__ for kind in cls.__mro__], name)
        make: Any = cls
        read: Self = make(resource_name, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id)))
        return read


def _from_pulumi(value: Any) -> Any:
    """Replace Pulumi's unknowns, and drop what is the host's."""
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, Mapping):
        return {key: _from_pulumi(item) for key, item in value.items() if key != _PROVIDER_KEY}
    if isinstance(value, list):
        return [_from_pulumi(item) for item in value]
    return value


def _to_pulumi(value: Any) -> Any:
    if value is UNKNOWN:
        return Unknown()  # type: ignore[no-untyped-call]  # pulumi's own marker
    if isinstance(value, Mapping):
        return {key: _to_pulumi(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_pulumi(item) for item in value]
    return value


def _plain(news: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in news.items() if key != _PROVIDER_KEY}


class _HostTraceback(ModuleType):
    """Stands for `traceback` in the host: our own errors are one line, all others stay as they are."""

    @staticmethod
    def format_exc() -> str:
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        return str(error) if isinstance(error, ProviderFailedError) else traceback.format_exc()


def _in_host() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == _HOST_MODULE


def _quiet_tracebacks() -> None:
    host = sys.modules.get("__main__")
    if _in_host() and getattr(host, "traceback", None) is traceback:
        cast("Any", host).traceback = _HostTraceback("traceback")
