"""Every operation as a typed method, written once for the blocking and the asynchronous client.

Imports the prepared calls of `_requests` and `jobs`; `client` adds how they are sent.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from types import MethodType
from typing import Any, Generic, NoReturn, ParamSpec, Self, TypeVar, overload

from pydantic import SecretStr

from pulumi_visgate.runpod import _requests, jobs
from pulumi_visgate.runpod._call import Call
from pulumi_visgate.runpod._exchange import Core

P = ParamSpec("P")
T = TypeVar("T")


class Method(Generic[P, T]):
    """A prepared call as a method: it returns the result on a blocking client, an awaitable on an asynchronous one."""

    def __init__(self, prepare: Callable[P, Call[T]]) -> None:
        @functools.wraps(prepare)
        def bound(client: "Blocking | Asynchronous", *args: P.args, **kwargs: P.kwargs) -> T | Coroutine[Any, Any, T]:
            return client.perform(prepare(*args, **kwargs))

        self.prepare = prepare
        self.__doc__ = prepare.__doc__
        self._bound = bound

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Blocking", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "Asynchronous", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: "Blocking | Asynchronous | None", owner: type) -> Any:
        """Bind to a client."""
        return self if client is None else MethodType(self._bound, client)


class Operations:
    """Every operation that both clients offer, under its name in the OpenAPI document."""

    list_endpoints = Method(_requests.list_endpoints)
    create_endpoint = Method(_requests.create_endpoint)
    get_endpoint = Method(_requests.get_endpoint)
    update_endpoint = Method(_requests.update_endpoint)
    delete_endpoint = Method(_requests.delete_endpoint)
    list_endpoint_workers = Method(_requests.list_endpoint_workers)
    list_endpoint_releases = Method(_requests.list_endpoint_releases)

    list_templates = Method(_requests.list_templates)
    create_template = Method(_requests.create_template)
    get_template = Method(_requests.get_template)
    update_template = Method(_requests.update_template)
    delete_template = Method(_requests.delete_template)

    list_network_volumes = Method(_requests.list_network_volumes)
    create_network_volume = Method(_requests.create_network_volume)
    get_network_volume = Method(_requests.get_network_volume)
    update_network_volume = Method(_requests.update_network_volume)
    delete_network_volume = Method(_requests.delete_network_volume)

    list_registries = Method(_requests.list_registries)
    create_registry = Method(_requests.create_registry)
    get_registry = Method(_requests.get_registry)
    delete_registry = Method(_requests.delete_registry)
    list_delegations = Method(_requests.list_delegations)
    create_delegation = Method(_requests.create_delegation)
    revoke_delegation = Method(_requests.revoke_delegation)

    list_gpu_types = Method(_requests.list_gpu_types)
    get_gpu_type = Method(_requests.get_gpu_type)
    list_cpu_types = Method(_requests.list_cpu_types)
    get_cpu_type = Method(_requests.get_cpu_type)
    list_data_centers = Method(_requests.list_data_centers)
    get_data_center = Method(_requests.get_data_center)
    list_public_templates = Method(_requests.list_public_templates)

    list_billing = Method(_requests.list_billing)
    list_pod_billing = Method(_requests.list_pod_billing)
    list_serverless_billing = Method(_requests.list_serverless_billing)
    list_endpoint_billing = Method(_requests.list_endpoint_billing)
    list_network_volume_billing = Method(_requests.list_network_volume_billing)
    list_cluster_billing = Method(_requests.list_cluster_billing)

    run_job = Method(jobs.run_job)
    run_job_sync = Method(jobs.run_job_sync)
    job_status = Method(jobs.job_status)
    stream_job = Method(jobs.stream_job)
    cancel_job = Method(jobs.cancel_job)
    retry_job = Method(jobs.retry_job)
    purge_queue = Method(jobs.purge_queue)
    endpoint_health = Method(jobs.endpoint_health)

    _core: Core
    _owns_connections: bool

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._core.base_url!r}, jobs_url={self._core.jobs_url!r})"

    def __reduce__(self) -> NoReturn:
        message = f"{type(self).__name__} holds a key and connections, so it cannot be pickled"
        raise TypeError(message)

    def with_key(self, api_key: str | SecretStr) -> Self:
        """Return a client for another key over the same connections; closing it closes nothing."""
        return self._twin(self._core.changed(api_key=secret(api_key)))

    def with_timeout(self, timeout_s: float) -> Self:
        """Return a client with another deadline in seconds over the same connections; closing it closes nothing."""
        return self._twin(self._core.changed(timeout_s=timeout_s))

    def _twin(self, core: Core) -> Self:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), _core=core, _owns_connections=False)
        return twin


class Blocking(Operations):
    """Operations whose methods return the result."""

    @abstractmethod
    def perform(self, call: Call[T]) -> T:
        """Carry out a prepared call."""


class Asynchronous(Operations):
    """Operations whose methods return an awaitable."""

    @abstractmethod
    async def perform(self, call: Call[T]) -> T:
        """Carry out a prepared call."""


def secret(api_key: str | SecretStr) -> SecretStr:
    """Return the key in its wrapper."""
    return api_key if isinstance(api_key, SecretStr) else SecretStr(api_key)
