"""A job through the worker beside the call of diffusers that it comes down to, in turns in one process; JSON out.

Both draw the same picture with the same loaded pipeline. The job begins with its input as Runpod's queue holds it and
ends with its result: schema, plan, lane, progress events, encoding, upload to a server of this machine. The call is
followed by saving the picture as PNG, which a script would do, too.
"""

import asyncio
import io
import json
import os
import statistics
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

ROUNDS = 7
SIDE, STEPS = 256, 30


def main(volume: str, model_id: str, sink: str) -> None:
    """Draw in turns and print the middle of both.

    Args:
        volume: Folder with `models/<model id>`.
        model_id: The model.
        sink: Address that takes uploads.
    """
    import torch  # noqa: PLC0415 - as the worker does

    from visgate_worker.model import find, import_frameworks, load  # noqa: PLC0415 - as above
    from visgate_worker.settings import Settings  # noqa: PLC0415 - as above

    settings = Settings.model_validate({"model_id": model_id, "volume_path": Path(volume)})
    found = find(settings)
    loaded = load(found, settings, framework_import_s=import_frameworks(found.capability))
    handler = _handler(settings, loaded)
    pipeline: Any = loaded.runtime._eager.pipeline  # type: ignore[attr-defined]  # noqa: SLF001 - the same weights
    params = {"prompt": "a red fox", "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 1}

    def bare() -> None:
        picture = pipeline(
            "a red fox",
            width=SIDE,
            height=SIDE,
            num_inference_steps=STEPS,
            generator=torch.Generator("cpu").manual_seed(1),
        ).images[0]
        picture.save(io.BytesIO(), format="png")

    def job() -> None:
        upload = {"put_url": f"{sink}/0.png", "cdn_url": f"{sink}/0.png"}
        task_id = "task_" + "0" * 26
        given = {"task_id": task_id, "model_id": model_id, "params": params, "uploads": [upload], "announced": True}
        answer = asyncio.run(handler({"id": "job-1", "input": given}))
        if "error" in answer:
            raise RuntimeError(str(answer["error"]))

    bare()
    job()
    seconds: dict[str, list[float]] = {"bare": [], "job": []}
    for turn in range(ROUNDS):
        # Whoever comes second finds warmer caches, so they take turns at that, too.
        for name, action in (("bare", bare), ("job", job)) if turn % 2 else (("job", job), ("bare", bare)):
            began = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - began)
    sys.stdout.write(json.dumps({name: statistics.median(found) for name, found in seconds.items()}) + "\n")


def _handler(settings: Any, loaded: Any) -> Any:
    from visgate_contract.addresses import EgressPolicy  # noqa: PLC0415 - as the worker does
    from visgate_worker.handler import JobHandler  # noqa: PLC0415 - as above
    from visgate_worker.inputs import ImageInputs  # noqa: PLC0415 - as above
    from visgate_worker.link import Answers, Link  # noqa: PLC0415 - as above
    from visgate_worker.logs import Masker  # noqa: PLC0415 - as above
    from visgate_worker.loras import loras_of  # noqa: PLC0415 - as above
    from visgate_worker.services import ColdStart, Services  # noqa: PLC0415 - as above
    from visgate_worker.uploads import Uploader  # noqa: PLC0415 - as above

    egress = EgressPolicy()
    read_end, write_end = os.pipe()
    threading.Thread(target=_drain, args=(read_end,), daemon=True).start()  # the supervisor's end
    model: Future[Any] = Future()
    model.set_result(loaded)
    return JobHandler(
        Services(
            settings=settings,
            link=Link(write_end),
            answers=Answers(),
            model=model,
            images=ImageInputs(egress),
            loras=loras_of(settings, egress),
            uploader=Uploader(),
            send_update=lambda _job, _update: None,
            mask=Masker(os.environ).text,
            cold_start=ColdStart(0.0, 0.0),
        )
    )


def _drain(read_end: int) -> None:
    while os.read(read_end, 1 << 16):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:4])
