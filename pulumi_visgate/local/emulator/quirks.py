"""What a server may do to answers without being wrong: another order, null for empty, additions of its own.

All are off by default. Clients that shall not be surprised are tested with all of them on.
"""

import random
from typing import Any

from pydantic import BaseModel, ConfigDict

from pulumi_visgate.local.emulator.store import Doc

FLASHBOOT_SUFFIX = " -fb"
PLATFORM_ENV = {"PORT": "80", "PORT_HEALTH": "80"}
_ORDERED = frozenset({"cpu"})  # the API says that these come as they were submitted
_STANDBY = {"workersStandby": 1}


class Quirks(BaseModel):
    """Which of them are in force.

    Args:
        reorder: Lists come in another order at every answer.
        nulls: Null stands for empty text, list and mapping.
        platform_env: A new load balancer gets `PORT` and `PORT_HEALTH`, unless its environment has them.
        name_suffix: The name of an endpoint with FlashBoot gets ` -fb`.
        additions: Answers have fields that the API does not document, such as standby workers.
    """

    model_config = ConfigDict(extra="forbid")

    reorder: bool = False
    nulls: bool = False
    platform_env: bool = False
    name_suffix: bool = False
    additions: bool = False

    def shown(self, doc: Doc) -> Doc:
        """Return a resource as it is answered."""
        shown = {name: self._value(name, value) for name, value in doc.items()}
        if self.name_suffix and doc.get("flashboot", "OFF") != "OFF":
            shown["name"] = doc["name"].removesuffix(FLASHBOOT_SUFFIX) + FLASHBOOT_SUFFIX
        if self.additions and "workers" in shown:
            shown["workers"] = {**shown["workers"], **_STANDBY}
        if self.additions:
            shown |= _STANDBY
        return shown

    def prepared(self, doc: Doc) -> Doc:
        """Return a new endpoint as it is kept."""
        if self.platform_env and doc["type"] == "LOAD_BALANCER":
            return {**doc, "env": {**PLATFORM_ENV, **doc["env"]}}
        return doc

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict) and value and name != "env":
            return {inner: self._value(inner, item) for inner, item in value.items()}
        if self.nulls and value in ("", [], {}):
            return None
        if self.reorder and isinstance(value, list) and name not in _ORDERED:
            return random.sample(value, len(value))
        return value
