"""Runpod's catalog with stock, as the checks of one process use it; no Pulumi."""

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar, cast

from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.catalog import (
    CatalogInclude,
    CpuFilter,
    CpuProduct,
    CpuType,
    DataCenter,
    GpuFilter,
    GpuType,
    Product,
)

T = TypeVar("T")


class Catalog:
    """Reads each part once; a failure is remembered, or every resource would wait for it again.

    Args:
        runpod: Returns the client of the account.
    """

    def __init__(self, runpod: Callable[[], RunpodClient]) -> None:
        self._runpod = runpod
        self._lock = Lock()
        self._answers: dict[str, Any] = {}
        self._failure: RunpodError | None = None

    def gpus(self, count: int = 1) -> list[GpuType]:
        """Return GPU types with serverless prices and the stock of machines that have so many free (`listGpuTypes`).

        Args:
            count: GPUs on one machine.

        Raises:
            RunpodError: This call, or an earlier one, failed.
        """
        query = GpuFilter(
            include=[CatalogInclude.AVAILABILITY], product=[Product.SERVERLESS], count=count if count > 1 else None
        )
        return self._once(f"gpus {count}", lambda: list(self._runpod().list_gpu_types(query)))

    def cpus(self, vcpus: int) -> list[CpuType]:
        """Return CPU flavours with serverless prices and stock (`listCpuTypes`).

        Args:
            vcpus: Virtual CPUs of a worker, a power of two.

        Raises:
            RunpodError: This call, or an earlier one, failed.
        """
        query = CpuFilter(include=[CatalogInclude.AVAILABILITY], product=[CpuProduct.SERVERLESS], vcpu_count=vcpus)
        return self._once(f"cpus {vcpus}", lambda: list(self._runpod().list_cpu_types(query)))

    @property
    def data_centers(self) -> list[DataCenter]:
        """Data centers with their storage tiers (`listDataCenters`).

        Raises:
            RunpodError: This call, or an earlier one, failed.
        """
        return self._once("data centers", lambda: list(self._runpod().list_data_centers()))

    def _once(self, part: str, ask: Callable[[], T]) -> T:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if part not in self._answers:
                try:
                    self._answers[part] = ask()
                except RunpodError as error:
                    self._failure = error
                    raise
            return cast("T", self._answers[part])
