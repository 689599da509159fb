"""`visgate quickstart`: everything on this machine, and two pictures to show for it. `make up` runs this."""

import os
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from pulumi_visgate.cli.console import err
from pulumi_visgate.cli.e2e import Wish, again, follow_first, gateway_url, save
from pulumi_visgate.cli.generate import file_stem
from pulumi_visgate.cli.steps import Steps
from pulumi_visgate.cli.target import LOCAL_MODEL, Target
from pulumi_visgate.client import Client
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.local import cloud
from pulumi_visgate.local.engine import Changes, Engine
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.receiver import receiving
from pulumi_visgate.local.state import CloudState

STEPS = 8
SEED = 7
PROMPT = "a red fox"
_MODEL_S = 300


class QuickstartError(VisgateError):
    """A step did not show what it must."""


def quickstart(*, prompt: str = PROMPT, seed: int = SEED) -> Path:
    """Bring up the local stack, generate a picture cold and again warm, and check all of it.

    Args:
        prompt: What to draw.
        seed: Of both pictures.

    Returns:
        The picture.

    Raises:
        VisgateError: A step failed; its message says which and what to do.
    """
    steps = Steps(err())
    home = Home.find(os.environ, Path.cwd())
    project = Path.cwd()
    with steps.step("starting the local cloud") as done:
        report = cloud.up(home, environ=os.environ, say=steps.aside)
        done("local cloud up" + ("" if report.started else " already"))
    engine = Engine.of(home, report.state, project=project, environ=os.environ, say=steps.aside)
    with steps.step("asking for the engine") as done:
        done(f"engine ready: pulumi {engine.version()}")
    with steps.step("making a tiny model") as done:
        model_folder = make_tiny_model(home)
        done(f"model ready: {LOCAL_MODEL} in {_short(model_folder, project)}")
    with steps.step("bringing up the stack") as done:
        changes = bring_up(engine)
        done(f"stack up: {changes.total} resources ({changes['create']} created, {changes['same']} unchanged)")
    target = Target(gateway_url(engine.outputs()), SecretStr(report.environment["RUNPOD_API_KEY"]), LOCAL_MODEL)
    picture = project / f"{file_stem(prompt)}.png"
    with Client(target.url, target.key) as gateway, receiving(gateway.webhook_secret()) as receiver:
        wish = Wish(LOCAL_MODEL, prompt, seed, steps=STEPS)
        first = follow_first(steps, gateway, wish, receiver=receiver)
        save(steps, gateway, first, picture, side_px=wish.side_px)
        again(steps, gateway, wish, first=first, same_bytes=True)
    _print_ways_on(steps, target, home, report.state)
    return picture


def make_tiny_model(home: Home) -> Path:
    """Make the local model unless it is there (a few MB, in the diffusers folder format).

    Args:
        home: Where it goes.

    Raises:
        QuickstartError: It could not be made.
    """
    folder = home.models / LOCAL_MODEL
    command = [sys.executable, "-m", "visgate_worker.tiny_model", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=_MODEL_S, check=False)  # noqa: S603 - own module
    if made.returncode != 0:
        end = "\n".join(made.stderr.splitlines()[-10:])
        detail = f"The tiny model could not be made:\n{end}"
        raise QuickstartError(detail, hint="`visgate doctor` says what is missing; `make setup` installs it.")
    return folder


def bring_up(engine: Engine) -> Changes:
    """Run `pulumi up` of the local stack; one that was there before is compared with the account first.

    Args:
        engine: Runs it.

    Raises:
        EngineError: It failed.
    """
    known = engine.has_stack()
    engine.ensure_stack()
    return engine.up(refresh=known)


def _print_ways_on(steps: Steps, target: Target, home: Home, state: CloudState) -> None:
    steps.note("")
    steps.note(f"gateway   {target.url}/docs")
    steps.note(f"CDN       {state.url('host')}/cdn")
    steps.note(f"logs      visgate local logs -f      ({_short(home.logs, Path.cwd())})")
    steps.note('next      .venv/bin/visgate generate "a blue whale"      or      make down')


def _short(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
