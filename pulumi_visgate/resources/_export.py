"""What an account has, as the inputs and outputs that resources of this library would have for it.

A resource is only taken when its inputs, checked as those of a program are, make no difference to what is there. So the
preview after an import is empty, or the resource is left out with the reason.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from pulumi_visgate.resources._crud import Crud, Found
from pulumi_visgate.resources._endpoint_wire import FLASHBOOT_SUFFIX
from pulumi_visgate.resources._kinds import Kind
from pulumi_visgate.resources._named import listing_of
from pulumi_visgate.resources._provider import Provider, VisgateResource
from pulumi_visgate.resources._session import Named, Session
from pulumi_visgate.resources.ecr_delegation import EcrDelegation, EcrDelegationArgs, EcrDelegationProvider
from pulumi_visgate.resources.endpoint import Endpoint, EndpointArgs, EndpointProvider
from pulumi_visgate.resources.network_volume import NetworkVolume, NetworkVolumeArgs, NetworkVolumeProvider
from pulumi_visgate.resources.template import Template, TemplateArgs, TemplateProvider
from pulumi_visgate.resources.warm_pool import WarmPool, WarmPoolArgs, WarmPoolProvider
from visgate_contract.names import EndpointName, model_slug
from visgate_contract.pools import PoolPolicy

_SLUG_DIGEST = re.compile(r"-[0-9a-f]{6}$")


@dataclass(frozen=True, slots=True)
class _Shape:
    """A resource class and what belongs to it."""

    resource: type[VisgateResource]
    provider: type[Provider]
    args: Any


_POOL = _Shape(WarmPool, WarmPoolProvider, WarmPoolArgs)
_SHAPES = {
    Kind.VOLUME: _Shape(NetworkVolume, NetworkVolumeProvider, NetworkVolumeArgs),
    Kind.TEMPLATE: _Shape(Template, TemplateProvider, TemplateArgs),
    Kind.DELEGATION: _Shape(EcrDelegation, EcrDelegationProvider, EcrDelegationArgs),
    Kind.ENDPOINT: _Shape(Endpoint, EndpointProvider, EndpointArgs),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """One resource as a program declares it and a state holds it.

    Args:
        kind: What it is at Runpod.
        resource: Its class.
        provider: Its dynamic provider.
        id: Id at Runpod.
        name: Name in the program.
        args: Arguments, without those that are as by default.
        inputs: Checked inputs.
        outputs: Inputs as they are in reality, and outputs.
        remarks: What a reader should know.
    """

    kind: Kind
    resource: type[VisgateResource]
    provider: type[Provider]
    id: str
    name: str
    args: dict[str, Any] = field(repr=False)
    inputs: dict[str, Any] = field(repr=False)
    outputs: dict[str, Any] = field(repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def found_name(self) -> str:
        """Name at Runpod."""
        return str(self.inputs["name"])


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Something that a program can refer to, but not own.

    Args:
        kind: What it is at Runpod.
        id: Id at Runpod.
        found_name: Name at Runpod.
        reason: Why it stays outside.
    """

    kind: Kind
    id: str
    found_name: str
    reason: str


def export(
    session: Session,
    *,
    owner: str,
    kinds: Iterable[Kind] = tuple(Kind),
    pattern: str = "*",
    owned: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[Exported], list[NotTaken]]:
    """Return what the account has; one list of each kind is asked for, and the catalog.

    Args:
        session: The account.
        owner: `project/stack` of the program.
        kinds: Which kinds.
        pattern: Only those whose name at Runpod fits, as in a shell.
        owned: Names of what the program has already, by ids.

    Raises:
        RunpodError: A call failed.
    """
    taken: list[Exported] = []
    others: list[NotTaken] = []
    names = set(owned.values())
    for kind in sorted(set(kinds), key=list(Kind).index):
        found = [item for item in _listed(session, kind) if fnmatchcase(item.name or "", pattern)]
        for item in sorted(found, key=lambda item: (item.name or "", item.id)):
            if item.id in owned:
                result: Exported | NotTaken = NotTaken(kind, item.id, item.name or "", "the stack has it already")
            else:
                result = _exported(session, kind, item, owner, names)
            if isinstance(result, Exported):
                names.add(result.name)
                taken.append(result)
            else:
                others.append(result)
    return taken, others


def _listed(session: Session, kind: Kind) -> Sequence[Named]:
    shape = _SHAPES.get(kind)
    found: Sequence[Named] = listing_of(session, shape.resource.__name__ if shape else "RegistryAuth").all()
    return found


def _exported(session: Session, kind: Kind, item: Named, owner: str, names: set[str]) -> Exported | NotTaken:
    if kind is Kind.REGISTRY:
        reason = "Runpod never shows its user and password again"
        return NotTaken(kind, item.id, item.name or "", reason)
    if not item.name:
        return NotTaken(kind, item.id, "", "it has no name, and cannot get one")
    reasons: list[str] = []
    for shape in _shapes(kind, item):
        crud = shape.provider.crud(session)
        name = _free(_name(item, shape), names)
        wanted = _wanted(crud, item)
        if wanted is None:
            return NotTaken(kind, item.id, item.name or "", "it was deleted while the account was read")
        remarks = tuple(_remarks(item, shape, wanted))
        result = _checked(crud, item.id, wanted | {"owner": f"{owner}/{name}"}, _arguments(shape))
        if isinstance(result, str):
            reasons.append(result)
            continue
        inputs, found, args = result
        return Exported(kind, shape.resource, shape.provider, item.id, name, args, inputs, found.outs, remarks)
    return NotTaken(kind, item.id, item.name or "", reasons[-1])


def _shapes(kind: Kind, item: Named) -> Iterator[_Shape]:
    """A pool, where it can be one, else the plain kind."""
    parsed = EndpointName.parse(item.name or "") if kind is Kind.ENDPOINT else None
    if parsed is not None:
        env: Mapping[str, str] = getattr(item, "env", {})
        if parsed.model == model_slug(env.get("VISGATE_MODEL_ID") or "-"):
            yield _POOL
    yield _SHAPES[kind]


def _arguments(shape: _Shape) -> frozenset[str]:
    return frozenset(shape.args.__required_keys__ | shape.args.__optional_keys__)


def _wanted(crud: Crud, item: Named) -> dict[str, Any] | None:
    """Return everything that there is to say; what is off is said where it is on by default."""
    found = crud.describe(item.id)
    if found is None:
        return None
    on = {name for name, known in crud.model.model_fields.items() if known.default is True}
    wanted = {name: False for name in on if name not in found.inputs} | found.inputs
    if isinstance(crud, WarmPoolProvider.crud):
        # Windows are in no answer of Runpod's, so what keeps workers now is a fixed minimum.
        wanted["min_workers"] = least = getattr(item, "workers").min or 0  # noqa: B009, of endpoints alone
        wanted["policy"] = str(PoolPolicy.ALWAYS_ON if least else PoolPolicy.ON_DEMAND)
    return wanted


def _checked(
    crud: Crud, id_: str, wanted: dict[str, Any], allowed: frozenset[str]
) -> tuple[dict[str, Any], Found, dict[str, Any]] | str:
    """Return inputs, what is there, and arguments; or why a program cannot have it as it is."""
    values, problems = crud.check({}, wanted)
    if problems:
        values, problems = crud.check(wanted, wanted)  # what the catalog has no more is there all the same
    if problems:
        return "; ".join(f"{problem.property} {problem.reason}" for problem in problems)
    found = crud.read(id_, values)
    if found is None:
        return "it was deleted while the account was read"
    change = crud.diff(found.outs, values)
    if change.changed:
        return f"this library cannot leave {', '.join(change.changed)} as it is"
    args = _without_defaults(crud, wanted, values)
    if not args.keys() <= allowed:
        return f"it has {', '.join(sorted(args.keys() - allowed))}"
    return values, found, args


def _without_defaults(crud: Crud, wanted: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Leave out one argument after the other while the result of the check stays."""
    kept = {name: wanted[name] for name in crud.model.model_fields if name in wanted}
    for name, known in crud.model.model_fields.items():
        if name not in kept or name in ("name", "owner") or known.is_required():
            continue
        fewer = {key: value for key, value in kept.items() if key != name}
        result, problems = crud.check(values, fewer)
        if name in crud.notes or (not problems and result == values):
            kept = fewer
    kept.pop("owner", None)
    return kept


def _remarks(item: Named, shape: _Shape, wanted: Mapping[str, Any]) -> Iterator[str]:
    parsed = EndpointName.parse(item.name or "")
    if shape is _POOL and parsed is not None and parsed.policy is PoolPolicy.SCHEDULED_WARM:
        yield (
            f"It was scheduled_warm. Runpod does not know its windows, so it is {wanted['policy']} here: set policy and"
            " windows."
        )


def _name(item: Named, shape: _Shape) -> str:
    name = item.name or item.id
    parsed = EndpointName.parse(name)
    if shape is _POOL and parsed is not None:
        name = f"{_SLUG_DIGEST.sub('', parsed.model)}-{parsed.task}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name.removesuffix(FLASHBOOT_SUFFIX)).strip("-.") or item.id


def _free(name: str, names: set[str]) -> str:
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name}-{number}"
    return free
