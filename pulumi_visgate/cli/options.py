"""Options and arguments that several commands share, and the client that they lead to."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pulumi_visgate.cli.target import Target
from pulumi_visgate.client import Client
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.errors import VisgateError
from visgate_contract.tasks import Task

HF_TOKEN_ENV = "HF_TOKEN"  # noqa: S105, the name of a variable
_COMPLETION_S = 2.0


def known_models(incomplete: str) -> list[str]:
    """Return the platform's models that begin so, for the shell; none when the gateway cannot be asked."""
    try:
        target = Target.find(None, os.environ, Path.cwd())
        with Client(target.url, target.key, timeout_s=_COMPLETION_S, pause=lambda _: None) as client:
            return [offered.model for offered in client.models() if offered.model.startswith(incomplete)]
    except (VisgateError, OSError):
        return []


GatewayUrl = Annotated[
    str | None,
    typer.Option("--gateway", help="URL; else VISGATE_GATEWAY_URL, else the gateway on this machine.", metavar="URL"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="Hub id of the model.", autocompletion=known_models, show_default=False)
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Hub id of the model; the local cloud has a default.", autocompletion=known_models),
]
TaskName = Annotated[Task, typer.Option("--task", help="What to ask of the model.")]
Region = Annotated[
    str | None, typer.Option("--region", help="A Runpod data center, or the beginning of several, such as EU.")
]
GpuPool = Annotated[str | None, typer.Option("--gpu-pool", help="One of the platform's GPU pools, such as ADA_24.")]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", help="Most that one job may cost, in US dollars.", metavar="USD")
]
HfToken = Annotated[bool, typer.Option("--hf-token", help="Send the token in HF_TOKEN along, for gated models.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="NAME=VALUE",
        help="Any other field of the task, such as strength=0.6; may be repeated.",
    ),
]
JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of the job, as `generate` prints it.", show_default=False)
]


def client_of(target: Target, *, hf_token: bool = False) -> Client:
    """Return a client of a gateway.

    Args:
        target: Which.
        hf_token: Send the token in HF_TOKEN along.

    Raises:
        UsageError: There is no such token.
    """
    token = os.environ.get(HF_TOKEN_ENV) if hf_token else None
    if hf_token and not token:
        detail = f"{HF_TOKEN_ENV} is not set."
        raise UsageError(detail, hint="Export your Hugging Face token, or leave --hf-token out.")
    return Client(target.url, target.key, hf_token=token)


def connect(gateway: str | None, *, hf_token: bool = False) -> Client:
    """Return a client of the gateway that is asked for, or found.

    Args:
        gateway: URL from the command line.
        hf_token: Send the token in HF_TOKEN along.

    Raises:
        UsageError: There is no gateway or no key.
    """
    return client_of(Target.find(gateway, os.environ, Path.cwd()), hf_token=hf_token)


def said(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def fields(given: list[str] | None) -> dict[str, Any]:
    """Return the fields that `--input` names; a value is JSON where it can be read so, else text.

    Raises:
        UsageError: One has no name or no value.
    """
    found = {}
    for text in given or ():
        name, mark, value = text.partition("=")
        if not name or not mark:
            detail = f"--input {text} is not of the form NAME=VALUE."
            raise UsageError(detail, hint="Write, for instance, --input guidance_scale=3.5.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
