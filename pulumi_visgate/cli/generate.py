"""`visgate generate "a red fox"`: a picture or a clip, from any gateway, to disk."""

import contextlib
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from pulumi_visgate.cli.console import err, out
from pulumi_visgate.cli.options import (
    AsJson,
    GatewayUrl,
    GpuPool,
    HfToken,
    Inputs,
    MaxCost,
    ModelOption,
    Region,
    client_of,
    fields,
    said,
)
from pulumi_visgate.cli.progress import follow, numbered, print_result, save
from pulumi_visgate.cli.target import Target
from pulumi_visgate.client import Client, Result, image_data
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.errors import VisgateError
from visgate_contract.tasks import Task

_STEM_LENGTH = 48


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.", show_default=False)],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; named after the prompt if left out.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Show the file with the program that this machine has.")] = False,
    model: ModelOption = None,
    task: Annotated[
        Task | None, typer.Option(help="What to ask of the model; text2img, or what --image and --mask are for.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="File or https URL of the picture to begin from.")] = None,
    mask: Annotated[str | None, typer.Option(help="File or https URL; what is white in it is drawn anew.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to keep out.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture.")] = None,
    number: Annotated[int | None, typer.Option("--number", "-n", help="Pictures to make.")] = None,
    inputs: Inputs = None,
    region: Region = None,
    gpu_pool: GpuPool = None,
    max_cost: MaxCost = None,
    hf_token: HfToken = False,
    webhook_url: Annotated[str | None, typer.Option(help="Receives the job's signed events.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the result.", min=1)] = 900,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and do not wait.")] = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
) -> None:
    """Generate a picture or a clip: progress while it is made, then the file, and its CDN link on standard output.

    The Runpod API key is read from RUNPOD_API_KEY. Ctrl-C cancels the job.
    """
    target = Target.find(gateway, os.environ, Path.cwd())
    model_id = model or target.model_id
    if model_id is None:
        detail = "No model is given."
        raise UsageError(detail, hint="Name one with --model; `visgate models` lists what the platform offers.")
    if output is not None and not output.absolute().parent.is_dir():
        detail = f"The folder of {output} does not exist."
        raise UsageError(detail, hint="Make it, or choose another file with -o.")
    wished = said(prompt=prompt, negative_prompt=negative_prompt, width=width, height=height, steps=steps, seed=seed)
    wished |= said(num_images=number, image=_picture(image), mask=_picture(mask)) | fields(inputs)
    options: Any = said(region=region, gpu_pool=gpu_pool, max_cost_usd=max_cost, webhook_url=webhook_url)
    with client_of(target, hf_token=hf_token) as client:
        job = client.submit(model_id, wished, task=task or _task_of(wished), **options)
        err().print(f"{job.status} {job.job_id}", style="dim")
        if detach:
            if as_json:
                out().print_json(data=job.model_dump(mode="json", exclude_none=True))
            else:
                out().print(job.job_id)
            return
        result = _followed(client, job.job_id, timeout_s=timeout)
        saved = save(client, result, numbered(output, file_stem(prompt), result.artifacts), open_them=show)
        print_result(result, saved, as_json=as_json)


def file_stem(prompt: str) -> str:
    """Return a file name for a prompt, without its extension: `visgate-` and the first words."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:_STEM_LENGTH].strip("-")
    return f"visgate-{words or 'picture'}"


def _followed(client: Client, job_id: str, *, timeout_s: float) -> Result:
    try:
        return follow(client, job_id, timeout_s=timeout_s)
    except KeyboardInterrupt:
        with contextlib.suppress(VisgateError):
            client.cancel(job_id)
            err().print("cancelled")
        raise


def _task_of(wished: dict[str, Any]) -> Task:
    if "mask" in wished:
        return Task.INPAINT
    return Task.IMAGE2IMG if "image" in wished else Task.TEXT2IMG


def _picture(given: str | None) -> str | None:
    """Return a picture as the gateway takes it: a URL as it is, a file with what is in it."""
    if given is None or "://" in given:
        return given
    return image_data(given)
