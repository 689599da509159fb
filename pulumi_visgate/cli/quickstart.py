"""`visgate quickstart`: everything on this machine, and two pictures to show for it. `make up` runs this."""

import os
import shutil
import tempfile
from hashlib import sha256
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
PROMPT = "a red circle on white"
_MODELS = Path("stacks/models")


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
    with steps.step("placing the model") as done:
        model_folder = place_model(home, project)
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


def place_model(home: Home, project: Path) -> Path:
    """Copy the local model, which draws shapes in colours, to where the local hub looks; the same is not copied again.

    Args:
        home: Where it goes.
        project: Where it comes from.

    Raises:
        QuickstartError: It is not there.
    """
    source, folder = project / _MODELS / LOCAL_MODEL, home.models / LOCAL_MODEL
    if not (source / "model_index.json").is_file():
        detail = f"There is no model in {source}."
        raise QuickstartError(detail, hint="Run it in a checkout of pulumi-visgate; `make local-model` trains it anew.")
    if _content(source) != _content(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".model-", dir=folder.parent) as scratch:
            new = shutil.copytree(source, Path(scratch) / "new")
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            new.rename(folder)
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).digest() for path in files}


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
    steps.note('next      .venv/bin/visgate generate "a blue square"      or      make down')


def _short(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
