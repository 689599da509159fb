"""What runs the model, and how much memory it holds."""

import resource

import torch

from visgate_worker.runtime.recipe import Hardware


def detect() -> Hardware:
    """Return the GPU of this worker, or its CPU."""
    if not torch.cuda.is_available():
        return Hardware("cpu", "cpu")
    about = torch.cuda.get_device_properties(0)
    return Hardware("cuda", about.name, about.total_memory, (about.major, about.minor))


def versions() -> str:
    """Return everything that compiled code and verdicts are only good for, beside GPU and model."""
    import diffusers  # noqa: PLC0415, by now it is there

    return f"torch {torch.__version__} cuda {torch.version.cuda} diffusers {diffusers.__version__}"


def start_peak(hardware: Hardware) -> None:
    """Begin to watch for the most memory held."""
    if hardware.is_gpu:
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(hardware: Hardware) -> int:
    """Return the most memory held since `start_peak`; of the whole process and its life where there is no GPU."""
    if hardware.is_gpu:
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def held_bytes(hardware: Hardware) -> int:
    """Return what objects hold of the GPU's memory now, such as weights."""
    return int(torch.cuda.memory_allocated()) if hardware.is_gpu else 0
