"""What diffusers does by itself: load a model and draw one picture, in a process of its own, phase by phase as JSON."""

import json
import sys
import time

started = time.perf_counter()


def main(model: str, side: int, steps: int) -> None:
    """Draw twice and print the seconds of each phase."""
    import torch  # noqa: PLC0415 - measured
    from diffusers import DiffusionPipeline  # noqa: PLC0415 - measured

    imported = time.perf_counter()
    pipeline = DiffusionPipeline.from_pretrained(model, local_files_only=True)
    loaded = time.perf_counter()
    pipeline.set_progress_bar_config(disable=True)
    marks = [loaded]
    for _ in range(2):
        generator = torch.Generator("cpu").manual_seed(1)
        picture = pipeline("a red fox", width=side, height=side, num_inference_steps=steps, generator=generator)
        marks.append(time.perf_counter())
    picture.images[0].save("/dev/null", format="png")
    phases = {
        "import_s": imported - started,
        "load_s": loaded - imported,
        "first_s": marks[1] - marks[0],
        "second_s": marks[2] - marks[1],
    }
    sys.stdout.write(json.dumps(phases) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
