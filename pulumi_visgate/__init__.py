"""Your own image and video inference platform on Runpod GPUs, declared with Pulumi."""
