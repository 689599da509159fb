"""The GPU worker: takes a job from Runpod, generates, uploads, reports.

`__main__` starts `serve` (the process with the Runpod SDK and the model) and becomes its `supervisor` (logs, webhooks,
watchdog). Only `serve` and what it calls late import runpod, torch or diffusers.
"""
