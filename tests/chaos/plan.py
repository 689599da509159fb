"""What one random sequence does: programs, commands, faults and kills, all drawn from a seed before anything runs."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pulumi_visgate.local.emulator.faults import FaultKind

CANARY = "canary-of-a-chaotic-secret"
CENTERS = ("EU-RO-1", "EU-CZ-1", "US-KS-2", "US-TX-3")
OPERATIONS = {
    "NetworkVolume": "NetworkVolume",
    "Template": "Template",
    "Endpoint": "Endpoint",
    "WarmPool": "Endpoint",
    "RegistryAuth": "Registry",
    "EcrDelegation": "Delegation",
}
"""The noun of the API's operations for each kind."""
HARD_LAG = {"kind": "stale_list", "operation": "list*s", "times": None, "delay_ms": 12_000}
"""Longer than a command takes to start: the next run cannot see what a killed one has made."""
NAMED = ("NetworkVolume", "Template", "Endpoint", "EcrDelegation", "Bucket")


@dataclass(frozen=True)
class Item:
    """One resource of a program; an argument whose text starts with `@` is the id of another."""

    kind: str
    name: str
    arguments: dict[str, Any]

    def uses(self, other: "Item") -> bool:
        return f"@{other.name}" in repr(self.arguments)

    def line(self) -> str:
        given = (f"{name}={_written(value)}" for name, value in self.arguments.items())
        return f"{_variable(self.name)} = {self.kind}({', '.join([repr(self.name), *given])})"


@dataclass(frozen=True)
class Kill:
    """When the engine is killed.

    Args:
        operation: Operation of the API, or `object` for the first file of a model.
        number: The how many-th of them.
        done: After it was carried out and before its answer, instead of when it comes in.
    """

    operation: str
    number: int = 1
    done: bool = False


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        command: `up`, `refresh` or `destroy`.
        items: The program.
        faults: What goes wrong from its start on.
        kill: When the engine is killed.
        model: Which content the model's folder has.
        deletes: It may delete something, so that only a refresh tells what is left when it is broken off.
    """

    command: str
    items: tuple[Item, ...]
    faults: tuple[dict[str, Any], ...] = ()
    kill: Kill | None = None
    model: int = 0
    deletes: bool = False

    @property
    def disturbed(self) -> bool:
        return bool(self.faults or self.kill)


@dataclass
class Plan:
    """A whole sequence; its last, undisturbed commands are always the same and not in here."""

    seed: int
    explicit: bool
    steps: list[Step] = field(default_factory=list)


def program(items: tuple[Item, ...]) -> str:
    """Return the program with these resources."""
    kinds = ", ".join(sorted({item.kind for item in items}))
    return "\n".join([f"from pulumi_visgate import {kinds}", *(item.line() for item in items), ""])


def drawn(seed: int) -> Plan:
    """Draw a sequence."""
    return _Dice(seed).plan()


class _Dice:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        # Lists that lag hide that a name of the program's own is taken, and nothing then tells whose it is.
        self.explicit = self.random.random() < 0.3
        self.count = 0

    def plan(self) -> Plan:
        plan = Plan(self.seed, self.explicit)
        items, model, settled, removes, broken = self.items(), 0, False, False, 0
        calls = [("create", item) for item in items]
        if self.random.random() < 0.6:
            plan.steps.append(Step("up", items))
            settled, calls = True, []
        for _ in range(self.random.randint(2, 4)):
            made = any(step.command == "up" for step in plan.steps)
            if not calls or self.random.random() < 0.5:
                # What a broken run may have half made stays in the program until a run has gone through.
                before = items
                items, model, verb = self.changed(items, model, settled=settled)
                removes = removes or verb in {"remove", "replace"}
                calls = [*calls, *_calls(verb, before, items)] if made else [("create", item) for item in items]
            command = self.random.choices(["up", "refresh", "destroy"], [7, 1, 2 if made else 0])[0]
            if command == "destroy":
                calls = [("delete", item) for item in items]
            step = self.step(command, items, model, calls)
            if command == "up" and broken == 1 and not self.explicit and self.random.random() < 0.5:
                step = replace(step, faults=(HARD_LAG,), kill=None)
            plan.steps.append(replace(step, deletes=command == "destroy" or (command == "up" and removes)))
            if command == "up" and not step.disturbed:
                settled, removes, calls, broken = True, False, [], 0
            elif command == "destroy":
                settled, calls = False, [("create", item) for item in items]
            elif command == "up":
                settled = False
                broken += 1
        return plan

    def items(self) -> tuple[Item, ...]:
        kinds = ["NetworkVolume", "Template", "Endpoint", "WarmPool", "RegistryAuth", "EcrDelegation", "Bucket"]
        chosen = self.random.sample(kinds, self.random.randint(3, 4))
        items: list[Item] = []
        for kind in sorted(chosen, key=lambda kind: (kind in {"Endpoint", "WarmPool"}, kind)):
            items.append(self.item(kind, items))
        homes = [item for item in items if item.kind in {"NetworkVolume", "Bucket"}]
        if homes and self.random.random() < 0.5:
            items.append(self.cache(self.random.choice(homes)))
        return tuple(items)

    def item(self, kind: str, there: list[Item]) -> Item:
        self.count += 1
        make = getattr(self, f"_{kind.lower()}")
        arguments: dict[str, Any] = make(there)
        if self.explicit and kind in NAMED and self.random.random() < 0.6:
            arguments |= {"name": f"chaos-{self.seed}-{self.count}", "adopt": True}
        return Item(kind, f"{kind.lower()}-{self.count}", arguments)

    def cache(self, home: Item) -> Item:
        self.count += 1
        where = {"bucket": f"@{home.name}"}
        if home.kind == "NetworkVolume":
            where = {"volume_id": f"@{home.name}", "data_center": home.arguments["data_center"]}
        return Item("ModelCache", f"modelcache-{self.count}", {"model_id": "acme/tiny", "source": "model", **where})

    def _networkvolume(self, _: list[Item]) -> dict[str, Any]:
        return {"size_gb": 10, "data_center": self.random.choice(CENTERS), "delete_data": True}

    def _template(self, _: list[Item]) -> dict[str, Any]:
        return {"image": "acme/worker:1", "env": {"TOKEN": CANARY}}

    def _endpoint(self, there: list[Item]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"image": "acme/worker:1", "gpu_pools": ["ADA_24"], "env": {"TOKEN": CANARY}}
        for item in there:
            if item.kind == "NetworkVolume":
                arguments["network_volume_ids"] = [f"@{item.name}"]
            if item.kind == "RegistryAuth":
                arguments["registry_id"] = f"@{item.name}"
            if item.kind == "Template" and "registry_id" not in arguments:
                arguments["template_id"] = f"@{item.name}"
        return arguments

    def _warmpool(self, there: list[Item]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"model_id": "acme/tiny", "image": "acme/worker:1", "gpu_pools": ["ADA_24"]}
        for item in there:
            if item.kind == "NetworkVolume":
                arguments["network_volume_ids"] = [f"@{item.name}"]
        return arguments

    def _registryauth(self, _: list[Item]) -> dict[str, Any]:
        return {"username": "robot", "password": f"{CANARY}-0"}

    def _ecrdelegation(self, _: list[Item]) -> dict[str, Any]:
        return {"repository_arn": f"arn:aws:ecr:eu-west-1:123456789012:repository/acme/worker-{self.count}"}

    def _bucket(self, _: list[Item]) -> dict[str, Any]:
        return {"force_destroy": True}

    def changed(self, items: tuple[Item, ...], model: int, *, settled: bool) -> tuple[tuple[Item, ...], int, str]:
        """Return another program, content of its model, and in which way it differs."""
        place = self.random.randrange(len(items))
        item = items[place]
        free = [other for other in items if not any(user.uses(other) for user in items)]
        ways = ["update"] + ["replace", "remove", "add"] * settled
        way = self.random.choice(ways)
        if way == "remove" and len(items) > 2:
            gone = self.random.choice(free)
            return tuple(other for other in items if other is not gone), model, way
        if way == "add":
            added = self.item(self.random.choice(["Template", "Endpoint", "NetworkVolume"]), [])
            return (*items, added), model, way
        if item.kind == "ModelCache":
            return items, model + 1, "update"
        more = self.replacement(item) if way == "replace" else self.update(item)
        newer = replace(item, arguments=item.arguments | more)
        return tuple(newer if other is item else other for other in items), model, way

    def update(self, item: Item) -> dict[str, Any]:
        number = self.random.randint(2, 9)
        if item.kind == "NetworkVolume":
            return {"size_gb": item.arguments["size_gb"] + 10}
        if item.kind in {"Endpoint", "WarmPool"}:
            return self.random.choice([{"max_workers": number}, {"env": {"TOKEN": f"{CANARY}-{number}"}}])
        if item.kind == "Template":
            return {"image": f"acme/worker:{number}"}
        return {"public_read": not item.arguments.get("public_read")} if item.kind == "Bucket" else {}

    def replacement(self, item: Item) -> dict[str, Any]:
        number = self.random.randint(2, 9)
        if item.kind == "NetworkVolume":
            return {"data_center": self.random.choice(CENTERS)} if "name" not in item.arguments else {}
        if item.kind == "WarmPool":
            return {"model_id": f"acme/tiny-{number}"}
        if item.kind == "RegistryAuth":
            return {"password": f"{CANARY}-{number}"}
        if item.kind == "EcrDelegation":
            return {"repository_arn": f"arn:aws:ecr:eu-west-1:123456789012:repository/acme/other-{number}"}
        return self.update(item)

    def step(self, command: str, items: tuple[Item, ...], model: int, calls: list[tuple[str, Item]]) -> Step:
        """Draw what disturbs a command that will probably make these calls."""
        operations = [_operation(verb, item) for verb, item in calls if item.kind in OPERATIONS]
        faults = tuple(self.faults(operations)) if self.random.random() < 0.7 else ()
        kill = None
        if command != "refresh" and calls and self.random.random() < 0.6:
            kill = self.kill(operations, cache=command == "up" and any(item.kind == "ModelCache" for _, item in calls))
        return Step(command, items, faults, kill, model)

    def faults(self, operations: list[str]) -> Iterator[dict[str, Any]]:
        for _ in range(self.random.randint(1, 3)):
            kinds = ["status", "lost_answer", "late_error", "reset"] * 3 + ["stale_list"] * 6 + ["hang", "late_answer"]
            kind = self.random.choice(kinds)
            operation = self.random.choice([*operations * 2, "create*", "update*", "delete*", "list*", "get*"])
            rule: dict[str, Any] = {"kind": kind, "operation": operation, "skip": self.random.choice([0, 0, 1])}
            if kind == "stale_list" and not self.explicit:
                delay_ms = self.random.choice([300, 2000, 4000])
                yield {"kind": kind, "operation": "list*s", "times": None, "delay_ms": delay_ms}
            elif kind == "late_answer":
                yield rule | {"kind": "lost_answer", "delay_ms": 60_000}
            elif kind in {"status", "late_error"}:
                status = self.random.choice([429, 500, 502, 503] if kind == "status" else [500, 502, 504])
                again = {"retry_after_s": 1} if status in {429, 503} else {}
                yield rule | {"status": status, "times": self.random.choice([1, 1, 2, 6]), **again}
            elif kind != "stale_list":
                yield rule | {"times": 1 if kind == "hang" else self.random.choice([1, 1, 2, 6])}

    def kill(self, operations: list[str], *, cache: bool) -> Kill:
        if not operations or (cache and self.random.random() < 0.3):
            return Kill("object")
        operation = self.random.choice(operations)
        number = self.random.randint(1, operations.count(operation))
        return Kill(operation, number, done=self.random.random() < 0.5)


def _calls(way: str, before: tuple[Item, ...], after: tuple[Item, ...]) -> list[tuple[str, Item]]:
    """Return what a change of the program makes the resources do."""
    new = [item for item in after if item not in before]
    if way == "remove":
        return [("delete", item) for item in before if item not in after]
    verbs = {"add": ("create",), "update": ("update",), "replace": ("create", "delete")}[way]
    return [(verb, item) for item in new for verb in verbs]


def _operation(verb: str, item: Item) -> str:
    noun = OPERATIONS[item.kind]
    return "revokeDelegation" if (verb, noun) == ("delete", "Delegation") else f"{verb}{noun}"


def fault_kinds(plans: list[Plan]) -> set[str]:
    """Return which faults some sequences have between them."""
    return {rule["kind"] for plan in plans for step in plan.steps for rule in step.faults}


REQUEST_FAULTS = {str(kind) for kind in FaultKind} - {"no_capacity", "worker_death"}


def _variable(name: str) -> str:
    return name.replace("-", "_")


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str) and value.startswith("@"):
        return f"{_variable(value[1:])}.id"
    return repr(value)
