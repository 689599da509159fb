"""Rollouts as hooks of the engine: they run in the program's process, so waiting holds no slot of the provider host.

The engine calls `before_update`, then the provider, then `after_update`, and records the state last. What is waited for
is in `before_update`, because only there a refusal keeps the old state, which is what a rollback needs. Every other end
lets the provider record what the endpoint has now; a failure is then told by `after_update`, which fails the `up`.
"""

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pulumi
from pulumi.runtime.settings import get_engine

from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources._engine_log import EngineLog
from pulumi_visgate.resources._report import Report, Silent
from pulumi_visgate.resources._rollout import Rollout, makes_release
from pulumi_visgate.resources._rollout_wait import End, Outcome, Waiter
from pulumi_visgate.resources._session import ATTEMPTS_IN_TIME, QUOTA_WAIT_S, Session, session_for
from pulumi_visgate.resources.account import stack_settings
from pulumi_visgate.resources.errors import RolloutFailed
from pulumi_visgate.runpod import AsyncRunpodClient, RetryPolicy
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.endpoint import UpdateEndpoint
from visgate_contract.redaction import Redactor


def rollout_options(
    crud: type[EndpointCrud], resource_name: str, args: Mapping[str, Any]
) -> pulumi.ResourceOptions | None:
    """Return the options that let a resource wait for its rollouts, None when the program does not ask for that.

    Args:
        crud: Kind of the resource.
        resource_name: Its name in the program.
        args: Its arguments.
    """
    if args.get("rollout") is None:
        return None
    hooks = RolloutHooks(crud)
    name = _unique(f"visgate-rollout-{crud.kind}-{resource_name}")

    def hook(when: str, function: Any) -> list[pulumi.ResourceHook | Any]:
        return [pulumi.ResourceHook(f"{name}-{when}", function)]

    binding = pulumi.ResourceHookBinding(
        after_create=hook("after-create", hooks.after_create),
        before_update=hook("before-update", hooks.before_update),
        after_update=hook("after-update", hooks.after_update),
    )
    return pulumi.ResourceOptions(hooks=binding)


_used: dict[tuple[int, str], int] = {}


def _unique(name: str) -> str:
    """The engine refuses a second hook of the same name; resources below different parents can share one."""
    key = (id(get_engine()), name)
    _used[key] = _used.get(key, 0) + 1
    return name if _used[key] == 1 else f"{name}-{_used[key]}"


class _Interrupts:
    """Ends waiting at SIGINT, which current language hosts send to the program at Ctrl-C."""

    def __init__(self) -> None:
        self._stops: set[asyncio.Event] = set()

    @contextmanager
    def stop(self) -> Iterator[asyncio.Event]:
        """Return an event that is set at SIGINT, as long as the block lasts."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        with suppress(RuntimeError, ValueError, NotImplementedError):  # not the main thread
            loop.add_signal_handler(signal.SIGINT, self._ring)
        self._stops.add(event)
        try:
            yield event
        finally:
            self._stops.discard(event)
            if not self._stops:
                with suppress(RuntimeError, ValueError, NotImplementedError):
                    loop.remove_signal_handler(signal.SIGINT)

    def _ring(self) -> None:
        for event in self._stops:
            event.set()


_interrupts = _Interrupts()


class RolloutHooks:
    """Hooks of one resource.

    Args:
        crud: Kind of the resource.
    """

    def __init__(self, crud: type[EndpointCrud]) -> None:
        self._crud = crud
        self._failure = ""

    async def after_create(self, args: pulumi.ResourceHookArgs) -> None:
        """Wait for the first workers, if the endpoint always keeps some."""
        with _interrupts.stop() as stop:
            turn = await _Turn.of(args)
            async with turn.client() as client:
                endpoint = await client.get_endpoint(args.id)
                outcome = await turn.waiter(client, stop).wait(minimum=endpoint.workers.min or 0)
        turn.settle(outcome, "Nothing ran before it that could come back.")

    async def before_update(self, args: pulumi.ResourceHookArgs) -> None:
        """Make the change, wait, and take it back where the program says so."""
        self._failure = ""
        turn = await _Turn.of(args)
        crud = self._crud(turn.session)
        change = await asyncio.to_thread(crud.change, args.id, turn.olds, turn.news)
        if not makes_release(change) and not turn.olds.get("rollout_pending"):
            return
        with _interrupts.stop() as stop:
            async with turn.client() as client:
                outcome, back = await turn.waiter(client, stop).apply(change)
                if outcome.end is End.DONE:
                    return
                if turn.rollout.on_failure == "rollback":
                    if back is None:  # an earlier run made the change and was killed
                        back = await asyncio.to_thread(crud.change, args.id, turn.news, turn.olds)
                    if back is not None:
                        await turn.roll_back(client, back, outcome)
        try:
            turn.settle(outcome, "It stays; the next `pulumi up` waits for it again, or correct the program.")
        except RolloutFailed as error:
            self._failure = str(error)

    async def after_update(self, _args: pulumi.ResourceHookArgs) -> None:
        """Fail the `up` now that the state says what the endpoint has."""
        failure, self._failure = self._failure, ""
        if failure:
            raise RolloutFailed(failure)


class _Turn:
    """One call of a hook.

    Args:
        session: Settings and masking.
        urn: Resource that messages belong to.
        resource: Its id.
        olds: Outputs of the last run.
        news: Checked inputs.
    """

    def __init__(
        self, session: Session, urn: str, resource: str, olds: Mapping[str, Any], news: Mapping[str, Any]
    ) -> None:
        self.session = session
        self.olds = olds
        self.news = news
        self.rollout = Rollout.model_validate(news.get("rollout") or {})
        self._id = resource
        envs = [*(olds.get("env") or {}).values(), *(news.get("env") or {}).values()]
        self._redactor = Redactor([*session.settings.secrets(), *map(str, envs)])
        engine = get_engine()
        self._report: Report = EngineLog(engine, self._redactor, urn) if engine is not None else Silent()

    @classmethod
    async def of(cls, args: pulumi.ResourceHookArgs) -> "_Turn":
        """Read settings and values; secrets among the values come as outputs."""
        session = session_for(stack_settings())
        return cls(session, args.urn, args.id, await _values(args.old_outputs), await _values(args.new_inputs))

    def client(self) -> AsyncRunpodClient:
        """Return a client of the account."""
        settings = self.session.settings
        return AsyncRunpodClient(
            settings.require_key(),
            base_url=settings.runpod_api_url,
            jobs_url=settings.runpod_jobs_url,
            timeout_s=settings.api_timeout_s,
            retry=RetryPolicy(attempt_s=settings.api_timeout_s / ATTEMPTS_IN_TIME, quota_wait_s=QUOTA_WAIT_S),
        )

    def waiter(self, client: AsyncRunpodClient, stop: asyncio.Event) -> Waiter:
        """Return what waits."""
        return Waiter(client, self._id, self.rollout, self._report, stop, mask=self._redactor.line)

    async def roll_back(self, client: AsyncRunpodClient, back: UpdateEndpoint, outcome: Outcome) -> None:
        """Take the change back and refuse the update, so that the state stays as it was.

        Raises:
            RolloutFailed: Always.
        """
        try:
            await client.update_endpoint(self._id, back)
        except RunpodError as error:
            detail = self._text(f"The rollout has to be taken back ({outcome.text}), which failed: {error}")
            raise RolloutFailed(detail, hint="Run `pulumi refresh`, then `pulumi up`.") from None
        detail = self._text(f"The rollout was taken back: {outcome.text}.")
        raise RolloutFailed(detail, hint="The former release is in force again, and the state says so.")

    def settle(self, outcome: Outcome, next_step: str) -> None:
        """Say how a rollout has ended that was not taken back.

        Raises:
            RolloutFailed: It has failed, and the program wants to know.
        """
        text = self._text(outcome.text)
        if outcome.end is End.INTERRUPTED:
            self._report.warn(f"rollout: {text}. It goes on without anybody waiting.")
        elif outcome.end is End.FAILED and self.rollout.on_failure == "warn":
            self._report.warn(f"rollout: failed: {text}")
        elif outcome.end is End.FAILED:
            detail = f"The rollout failed: {text}."
            raise RolloutFailed(detail, hint=next_step)

    def _text(self, text: str) -> str:
        return self._redactor.text(text)


async def _values(properties: Mapping[str, Any] | None) -> dict[str, Any]:
    plain = {name: value for name, value in (properties or {}).items() if name != "__provider"}
    known: dict[str, Any] = await pulumi.Output.from_input(plain).future() or {}
    return known
