"""What the operations of one process share: clients, quota view, short-lived lists and the catalog; no Pulumi."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import httpx

from pulumi_visgate.resources._catalog import Catalog
from pulumi_visgate.resources._endpoint_wire import FLASHBOOT_SUFFIX
from pulumi_visgate.resources._hub import Hub
from pulumi_visgate.resources._report import Report, Silent
from pulumi_visgate.resources._s3 import s3_client, volume_settings
from pulumi_visgate.resources._settings import Market, Settings, is_loopback
from pulumi_visgate.resources.errors import ConfigError
from pulumi_visgate.runpod import RetryPolicy, RunpodClient
from pulumi_visgate.runpod.errors import DeadlineExceeded, Forbidden, RunpodError, RunpodUnreachable, Unauthorized
from visgate_contract.errors import VisgateError
from visgate_contract.names import user_hash
from visgate_contract.redaction import Redactor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from pulumi_visgate.runpod.models.catalog import DataCenter, GpuType
    from pulumi_visgate.runpod.models.endpoint import Endpoint
    from pulumi_visgate.runpod.models.registry import EcrDelegation, Registry
    from pulumi_visgate.runpod.models.template import Template
    from pulumi_visgate.runpod.models.volume import NetworkVolume

LIST_FRESH_S = 10.0
LIST_LAG_S = 30.0
LIST_SETTLE_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0
ATTEMPTS_IN_TIME = 3
QUOTA_WAIT_S = 3_660.0  # the longest window of the quota is an hour
TELL_WAIT_S = 2.0
HOST_TIMEOUT_S = 90.0  # the host itself waits up to 60 s for a service to become ready


class Named(Protocol):
    """Anything of Runpod's with an id and a name."""

    @property
    def id(self) -> str:
        """Runpod's id."""

    @property
    def name(self) -> str | None:
        """Name, not unique."""


NamedT = TypeVar("NamedT", bound=Named)
T = TypeVar("T")


class Listing(Generic[NamedT]):
    """One list of the account, asked for once for many resources; deletions of this process are seen at once.

    Args:
        fetch: Asks the API.
        suffix: What the API may put behind a name of its own accord.
        now: Monotonic clock, in seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Sequence[NamedT]],
        *,
        suffix: str = "",
        now: Callable[[], float] = monotonic,
        sleep: Callable[[float], None] = sleep,
    ) -> None:
        self._fetch = fetch
        self._suffix = suffix
        self.now = now
        self.sleep = sleep
        self._lock = Lock()
        self._items: Sequence[NamedT] | None = None
        self._fetched_at = self._first_at = 0.0
        self._deleted: set[str] = set()
        self._made: dict[str, NamedT] = {}
        self._taken: dict[str, NamedT] = {}
        self._trusted: Sequence[NamedT] | None = None
        self._catching_up = Lock()
        self._gave_up = False

    def all(self, *, fresh: bool = False) -> list[NamedT]:
        """Return everything, at most a few seconds old.

        Args:
            fresh: Ask now.
        """
        with self._lock:
            if fresh or self._items is None or self.now() - self._fetched_at > LIST_FRESH_S:
                self._items = self._fetch()
                self._fetched_at = self.now()
                self._first_at = self._first_at or self._fetched_at
                self._trust()
            return [item for item in self._items if item.id not in self._deleted]

    @contextmanager
    def asked_meanwhile(self) -> Iterator[None]:
        """Ask beside what is done within, if nobody has asked yet; who needs the list then need not wait for it."""
        if self._items is not None:
            yield
            return
        asking = Thread(target=self._ask, daemon=True)
        asking.start()
        try:
            yield
        finally:
            asking.join()

    def _ask(self) -> None:
        with suppress(VisgateError):  # who needs it asks again, and hears of it
            self.all()

    def get(self, id_: str) -> NamedT | None:
        """Return one by id, if the list has it."""
        return next((item for item in self.all() if item.id == id_), None)

    def named(self, name: str, *, fresh: bool = False) -> list[NamedT]:
        """Return those of exactly this name, but for what the API adds."""
        return [item for item in self.all(fresh=fresh) if self._is(item, name)]

    @property
    def own(self) -> frozenset[str]:
        """Ids of what this process has made or taken over."""
        return frozenset((*self._made, *self._taken))

    @property
    def caught_up(self) -> bool:
        """Whether the API has listed something that this process has made."""
        return self._trusted is not None

    def made(self, item: NamedT) -> None:
        """Take note of what this process has made."""
        with self._lock:
            self._made[item.id] = item
            self._trust()

    def taken(self, item: NamedT) -> None:
        """Take note of what was there and is now this program's."""
        with self._lock:
            self._taken[item.id] = item

    def catch_up(self, patience_s: float = LIST_LAG_S) -> bool:
        """Wait until the API lists something that this process has made: then it lists all that is older, too.

        A list that has done so once is kept, so this costs one call in a process, however much it makes.

        Args:
            patience_s: Longest wait in seconds, for all of the process together.

        Returns:
            Whether it does.
        """
        with self._catching_up:
            end = self.now() + patience_s
            pause_s = FIRST_PAUSE_S
            while self._trusted is None and not self._gave_up:
                with suppress(RunpodError):
                    self.all(fresh=True)
                if self._trusted is None:
                    self._gave_up = self.now() + pause_s > end
                    if not self._gave_up:
                        self.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            return self.caught_up

    def settle(self, since: float | None = None) -> None:
        """Wait until a list is a while younger than a moment, or has caught up; then what was made before it is listed.

        Args:
            since: The moment, on this list's clock; the first look of this process when left out.
        """
        with self._catching_up:
            end = (self._first_at if since is None else since) + LIST_SETTLE_S
            while not self.caught_up and self._fetched_at < end and self.now() < end + LIST_SETTLE_S:
                self.sleep(min(max(end - self.now(), 0.0), LIST_SETTLE_S / 5))
                with suppress(RunpodError):
                    self.all(fresh=True)

    def before(self, name: str) -> list[NamedT]:
        """Return those of this name, from the list that has caught up where there is one."""
        return self.listed(name) if self.caught_up else self.named(name)

    def listed(self, name: str) -> list[NamedT]:
        """Return those of this name that were listed so far, or made by this process; asks nobody."""
        with self._lock:
            listed = self._trusted or self._items or ()
            known = {item.id: item for item in (*listed, *self._made.values(), *self._taken.values())}
        return [item for item in known.values() if item.id not in self._deleted and self._is(item, name)]

    def _is(self, item: NamedT, name: str) -> bool:
        return item.name in {name, name + self._suffix}

    def _trust(self) -> None:
        if self._trusted is None and self._items and any(item.id in self._made for item in self._items):
            self._trusted = self._items

    def changed(self, item: NamedT) -> None:
        """Take note of an answer that is newer than the list."""
        with self._lock:
            if self._items is not None:
                self._items = [item if known.id == item.id else known for known in self._items]

    def deleted(self, id_: str) -> None:
        """Take note that one is gone, even if the API still lists it for a while."""
        with self._lock:
            self._deleted.add(id_)


class Once(Generic[T]):
    """Makes a value at its first use, once for all threads; an error is not remembered.

    Every value has a lock of its own, so that values may be made from one another.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


class Session:
    """Shared by every resource of one account in one process.

    Args:
        settings: Where to connect, and as whom.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redactor = Redactor(settings.secrets())
        self.report: Report = Silent()
        self.adopted: set[str] = set()
        self.volume_places: dict[str, str] = {}
        self.catalog = Catalog(lambda: self.runpod)
        self.endpoints: Listing[Endpoint] = Listing(
            lambda: self.runpod.list_endpoints(),  # noqa: PLW0108, made late
            suffix=FLASHBOOT_SUFFIX,
        )
        self.templates: Listing[Template] = Listing(lambda: self.runpod.list_templates())  # noqa: PLW0108, made late
        self.volumes: Listing[NetworkVolume] = Listing(
            lambda: self.runpod.list_network_volumes()  # noqa: PLW0108, made late
        )
        self.registries: Listing[Registry] = Listing(
            lambda: self.runpod.list_registries()  # noqa: PLW0108, made late
        )
        self.delegations: Listing[EcrDelegation] = Listing(
            lambda: self.runpod.list_delegations()  # noqa: PLW0108, made late
        )
        self._runpod = Once(self._connect_runpod)
        self._waiting_lock = Lock()
        self._waiting_until = 0.0
        self._host = Once(self._connect_host)
        self._hub = Once(lambda: Hub(settings.hf_endpoint, settings.hf_token))
        self._gpu_types = Once(lambda: list(self.runpod.list_gpu_types()))
        self._data_centers = Once(lambda: list(self.runpod.list_data_centers()))
        self._store = Once(lambda: s3_client(settings.store))
        self._volume_stores: dict[str | None, Once[S3Client]] = {}

    @property
    def user_hash(self) -> str:
        """Identity of the account's key."""
        return user_hash(self.settings.require_key())

    @property
    def runpod(self) -> RunpodClient:
        """Client of the account."""
        return self._runpod()

    @property
    def host(self) -> httpx.Client:
        """Client of the local cloud's service host."""
        return self._host()

    @property
    def hub(self) -> Hub:
        """The model hub."""
        return self._hub()

    @property
    def gpu_types(self) -> "list[GpuType]":
        """GPU types of the catalog."""
        return self._gpu_types()

    @property
    def data_centers(self) -> "list[DataCenter]":
        """Data centers of the catalog."""
        return self._data_centers()

    @property
    def store(self) -> "S3Client":
        """S3 client for buckets."""
        return self._store()

    def in_words(self, error: VisgateError) -> str:
        """Return what an error says, with what to do about an API that does not answer."""
        if not isinstance(error, RunpodUnreachable | DeadlineExceeded):
            return str(error)
        url = self.settings.runpod_api_url
        local = " Run `visgate local up`." if is_loopback(url) else ""
        return f"{error.detail.rstrip('.')}. Check {url} (visgate:runpodApiUrl or RUNPOD_API_URL).{local}"

    def without_catalog(self, error: RunpodError) -> None:
        """Go on without the catalog, and say so once; checks of what it knows are then left to the API.

        Raises:
            RunpodError: Nothing would work with this key, or the settings ask for certainty.
        """
        if isinstance(error, Unauthorized | Forbidden) or self.settings.market == Market.FAIL:
            raise error
        self.report.warn(
            f"Runpod's catalog cannot be read: names, stock and prices are not checked. {self.in_words(error)}"
        )

    def volume_store(self, data_center: str | None) -> "S3Client":
        """Return the S3 client that reaches the network volumes of a data center.

        Args:
            data_center: Runpod's id, such as `EU-RO-1`; may be None where one store serves all.
        """
        make = Once(lambda: s3_client(volume_settings(self.settings.volume_store, data_center)))
        return self._volume_stores.setdefault(data_center, make)()

    def _connect_runpod(self) -> RunpodClient:
        timeout_s = self.settings.api_timeout_s
        return RunpodClient(
            self.settings.require_key(),
            base_url=self.settings.runpod_api_url,
            jobs_url=self.settings.runpod_jobs_url,
            timeout_s=timeout_s,
            retry=RetryPolicy(attempt_s=timeout_s / ATTEMPTS_IN_TIME, quota_wait_s=QUOTA_WAIT_S),
            on_quota_wait=self._tell_quota_wait,
        )

    def _tell_quota_wait(self, seconds: float) -> None:
        """Say once for all who wait that they do."""
        until = monotonic() + seconds
        with self._waiting_lock:
            if seconds < TELL_WAIT_S or until <= self._waiting_until + TELL_WAIT_S:
                return
            self._waiting_until = until
        self.report.note(f"Runpod's request quota for this account is used up: going on in {seconds:.0f} s.")

    def _connect_host(self) -> httpx.Client:
        url, token = self.settings.host_url, self.settings.host_token
        if url is None or token is None:
            detail = "The local cloud's service host is not known."
            raise ConfigError(detail, hint="Run `visgate local up` and `. .visgate/env`.")
        headers = {"authorization": f"Bearer {token.get_secret_value()}"}
        return httpx.Client(base_url=url, headers=headers, timeout=HOST_TIMEOUT_S, trust_env=False)


_sessions: dict[Settings, Session] = {}
_sessions_lock = Lock()


def session_for(settings: Settings) -> Session:
    """Return the session of these settings, the same one for every resource of the process."""
    with _sessions_lock:
        return _sessions.setdefault(settings, Session(settings))
