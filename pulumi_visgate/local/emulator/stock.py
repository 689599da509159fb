"""What is free at the moment: the catalog's own levels, and those that somebody has set instead."""

from collections.abc import Mapping

from pulumi_visgate.local.emulator.catalog import CPUS, DATA_CENTERS, GPUS, Cpu, Gpu, Level


class Stock:
    """Stock of every GPU type and CPU flavour in every data center, in memory."""

    def __init__(self) -> None:
        self._set: dict[str, dict[str, Level]] = {}

    def of(self, item: Gpu | Cpu) -> Mapping[str, Level]:
        """Return the level in each data center that has, or had, some."""
        return {**item.stock, **self._set.get(item.id, {})}

    def set(self, name: str, data_center: str | None, level: Level) -> str:
        """Change the level.

        Args:
            name: GPU type, serverless pool (all of its types) or CPU flavour.
            data_center: Where; None is everywhere that the catalog has it.
            level: What there is from now on.

        Returns:
            What of `name` and `data_center` is not known, and nothing is changed then; empty when all is well.
        """
        items: list[Gpu | Cpu] = [gpu for gpu in GPUS.values() if name in {gpu.id, gpu.pool}]
        items += [cpu for cpu in CPUS.values() if name == cpu.id]
        if not items:
            return name
        if data_center is not None and data_center not in DATA_CENTERS:
            return data_center
        for item in items:
            centers = item.stock if data_center is None else (data_center,)
            self._set.setdefault(item.id, {}).update(dict.fromkeys(centers, level))
        return ""

    def reset(self) -> None:
        """Go back to the catalog's own levels."""
        self._set.clear()
