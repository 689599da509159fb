"""`visgate e2e`: the same steps through any stack that is up, on the laptop or in real accounts."""

import os
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Unpack

import httpx
import typer
from pydantic import SecretStr

from pulumi_visgate.cli.console import err
from pulumi_visgate.cli.generate import file_stem
from pulumi_visgate.cli.stack import Stack, stack_environment
from pulumi_visgate.cli.steps import Steps
from pulumi_visgate.client import Client, JobOptions, SubmittedJob
from pulumi_visgate.client.address import KEY_ENV, is_on_this_machine
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.errors import VisgateError
from visgate_contract.events import Artifact, Event, Status
from visgate_contract.tasks import Text2ImgInput

SIDE_PX = 256
WARM_S = 2.0
COLD_S = 1800.0  # a first start on a real GPU pulls an image and loads a model
PROMPT = "a red fox"
SEED = 7
_PROBE_S = 30.0


class E2eError(VisgateError):
    """A step did not show what it must."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Args:
        model_id: Model.
        prompt: What to draw.
        seed: Of every picture.
        side_px: Width and height in pixels.
        steps: Denoising steps; the model's own when None.
    """

    model_id: str
    prompt: str
    seed: int
    side_px: int = SIDE_PX
    steps: int | None = None

    def input(self) -> Text2ImgInput:
        """Return the input of the job."""
        side = self.side_px
        return Text2ImgInput(prompt=self.prompt, width=side, height=side, seed=self.seed, steps=self.steps)


def e2e(
    stack: Annotated[str, typer.Option(help="Stack that is up, such as local, dev or prod.")] = "local",
    *,
    model: Annotated[str | None, typer.Option(help="Model of the stack; its first one by default.")] = None,
    prompt: Annotated[str, typer.Option(help="What to draw.")] = PROMPT,
    seed: Annotated[int, typer.Option(help="Of both pictures.", min=0)] = SEED,
    side: Annotated[int, typer.Option(help="Width and height in pixels.", min=64, max=4096)] = SIDE_PX,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own by default.", min=1)] = None,
    same_bytes: Annotated[
        bool | None, typer.Option(help="Both pictures must be the same bytes. On for stacks on this machine.")
    ] = None,
) -> None:
    """Make two pictures through a stack that is up, cold and warm, and check all of it.

    The key in RUNPOD_API_KEY pays for them: on real accounts some cents.
    """
    told = Steps(err())
    environment = stack_environment(stack, os.environ, Path.cwd())
    with told.step("asking for the stack") as done:
        found = Stack.existing(Path.cwd(), stack, environment)
        outputs = found.outputs()
        url = gateway_url(outputs)
        done(f"stack {stack}: gateway {url}")
    wish = Wish(model or first_model(outputs), prompt, seed, side, steps)
    key = environment.get(KEY_ENV, "")
    if not key:
        detail = f"{KEY_ENV} is not set."
        raise UsageError(detail, hint="Export your Runpod API key; never pass it as an option.")
    probe(told, url)
    strict = is_on_this_machine(url) if same_bytes is None else same_bytes
    with Client(url, SecretStr(key)) as gateway:
        make_two(told, gateway, wish, Path.cwd() / f"{file_stem(prompt)}.png", same_bytes=strict)
    with told.step("looking for drift") as done:
        found.expect_no_changes()
        done("a preview right after is empty")


def gateway_url(outputs: dict[str, Any]) -> str:
    """Return the gateway's URL from the outputs of a stack.

    Raises:
        E2eError: The stack has no gateway.
    """
    url = outputs.get("gateway_url")
    if not isinstance(url, str):
        detail = "The stack has no output gateway_url."
        raise E2eError(detail, hint=f"Its outputs are: {', '.join(sorted(outputs)) or 'none'}.")
    return url


def first_model(outputs: dict[str, Any]) -> str:
    """Return the model of the stack's first pool that draws.

    Raises:
        E2eError: There is none.
    """
    for pool in outputs.get("pools") or ():
        if pool.get("task") == "text2img":
            return str(pool["model_id"])
    detail = "The stack has no pool for text2img."
    raise E2eError(detail, hint="Name a model with --model.")


def probe(told: Steps, url: str) -> None:
    """See that the gateway is ready, and that it serves nobody without a key.

    Raises:
        E2eError: It is not, or it does.
    """
    with told.step("asking the gateway") as done, httpx.Client(base_url=url, timeout=_PROBE_S) as client:
        try:
            ready = client.get("/readyz").status_code
            without_key = client.get("/v1/deployments").status_code
        except httpx.HTTPError as error:
            detail = f"{url} does not answer: {type(error).__name__}."
            raise E2eError(detail, hint="A new distribution takes some minutes until it answers everywhere.") from error
        if (ready, without_key) != (httpx.codes.OK, httpx.codes.UNAUTHORIZED):
            detail = f"{url} answers /readyz with {ready}, and a caller without a key with {without_key}."
            raise E2eError(detail, hint="200 and 401 are expected.")
        done("gateway ready, and closed to callers without a key")


def make_two(told: Steps, gateway: Client, wish: Wish, picture: Path, *, same_bytes: bool) -> None:
    """Make a picture, save and check it, and make it again from the warm endpoint.

    Args:
        told: Tells the steps.
        gateway: Through which.
        wish: What is asked for.
        picture: Where the first one is saved.
        same_bytes: Both must be the same.

    Raises:
        VisgateError: A step failed.
    """
    first = follow_first(told, gateway, wish)
    save(told, gateway, first, picture, side_px=wish.side_px)
    again(told, gateway, wish, first=first, same_bytes=same_bytes)


def follow_first(told: Steps, gateway: Client, wish: Wish, *, receiver: Any = None) -> Artifact:
    """Send the first request and follow it to its picture, by its webhooks alone where there is a receiver.

    Args:
        told: Tells the steps.
        gateway: Through which.
        wish: What is asked for.
        receiver: Takes webhooks; the gateway's event stream when left out.

    Raises:
        E2eError: The job failed, or told something wrong.
    """
    with told.step("sending a request") as done:
        options: JobOptions = {"webhook_url": receiver.url} if receiver else {}
        accepted = _submit(gateway, wish, **options)
        done(f"request accepted: {accepted.status} ({accepted.job_id})")
    started = perf_counter()
    with ExitStack() as stack:
        events = stack.enter_context(closing(_delivered(receiver) if receiver else _events(gateway, accepted)))
        for event in events:
            data = event.data
            progress = f" {data.progress.step}/{data.progress.steps}" if data.progress else ""
            what = f"webhook #{data.sequence} {data.status}{progress}, signature verified"
            line = what if receiver else f"event #{data.sequence} {data.status}{progress}"
            told.done(line, perf_counter() - started)
            if data.status is Status.FAILED:
                reason = data.error
                detail = f"The job failed: {reason.detail if reason else 'without a reason'}"
                raise E2eError(detail, hint=reason.hint if reason else "")
            if data.status is Status.READY:
                told.note(f"CDN link: {data.artifacts[0].url}")
                return data.artifacts[0]
    detail = f"No terminal event came within {COLD_S:.0f} s."
    raise E2eError(detail, hint="The worker's log says more: `visgate local logs`, or Runpod's console.")


def _events(gateway: Client, accepted: SubmittedJob) -> Generator[Event, None, None]:
    for update in gateway.events(accepted.job_id, timeout_s=COLD_S):
        if isinstance(update, Event):
            yield update


def _delivered(receiver: Any) -> Generator[Event, None, None]:
    for delivery in receiver.deliveries(timeout_s=COLD_S):
        if not delivery.verified or delivery.event is None:
            detail = "A webhook arrived whose signature is not right."
            raise E2eError(detail, hint="`visgate local logs` shows what the worker said.")
        yield delivery.event


def save(told: Steps, gateway: Client, artifact: Artifact, picture: Path, *, side_px: int) -> None:
    """Download a picture by its CDN link, and see that it is what was asked for."""
    with told.step("downloading") as done:
        gateway.download(artifact, picture)
        check_picture(picture, side_px=side_px)
        name = picture.relative_to(Path.cwd()) if picture.is_relative_to(Path.cwd()) else picture
        done(f"file saved: {name} ({side_px} x {side_px} PNG)")


def check_picture(file: Path, *, side_px: int = SIDE_PX) -> None:
    """See that a file is a whole PNG of the asked size.

    Args:
        file: The picture.
        side_px: Width and height.

    Raises:
        E2eError: It is not.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - of the extras [local] and [aws]

    try:
        with Image.open(file) as picture:
            picture.load()
            found = (picture.format, *picture.size)
    except (OSError, UnidentifiedImageError) as error:
        detail = f"{file} is no picture: {error}."
        raise E2eError(detail) from error
    if found != ("PNG", side_px, side_px):
        detail = f"{file} is {found[0]} of {found[1]} x {found[2]}; a PNG of {side_px} x {side_px} was asked for."
        raise E2eError(detail)


def again(told: Steps, gateway: Client, wish: Wish, *, first: Artifact, same_bytes: bool) -> None:
    """Send the same request again: it must be warm, and answered fast.

    Args:
        told: Tells the steps.
        gateway: Through which.
        wish: What was asked for.
        first: What came of it.
        same_bytes: The same must come again. Two GPUs of different types need not agree in every bit.

    Raises:
        E2eError: It is not.
    """
    started = perf_counter()
    with told.step("sending it again") as done:
        accepted = _submit(gateway, wish)
        answered_s = perf_counter() - started
        done(f"second request answered: {accepted.status}")
    if accepted.status != "warm_ready" or answered_s >= WARM_S:
        detail = f"The second request was answered {accepted.status} after {answered_s:.2f} s."
        raise E2eError(detail, hint=f"warm_ready in under {WARM_S:.0f} s is expected; is the machine very busy?")
    second = gateway.wait(accepted.job_id, timeout_s=COLD_S).artifacts[0]
    seconds = perf_counter() - started
    if second.sha256 == first.sha256:
        told.done(f"same seed, same bytes: SHA-256 {second.sha256[:16]}…", seconds)
    elif same_bytes:
        digests = f"{first.sha256[:12]}… and {second.sha256[:12]}…"
        detail = f"Seed {wish.seed} gave two different pictures: SHA-256 {digests}."
        raise E2eError(detail)
    else:
        told.done("second picture there, of other bytes than the first", seconds)


def _submit(gateway: Client, wish: Wish, **options: Unpack[JobOptions]) -> SubmittedJob:
    return gateway.submit(wish.model_id, wish.input(), **options)
