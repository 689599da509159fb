"""Pool policies: who keeps how many workers warm, and when."""

from enum import StrEnum


class PoolPolicy(StrEnum):
    """How many workers a pool keeps when nobody asks."""

    ALWAYS_ON = "always_on"
    SCHEDULED_WARM = "scheduled_warm"
    ON_DEMAND = "on_demand"
