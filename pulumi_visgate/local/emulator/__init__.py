"""An emulator of Runpod for the laptop and for tests: API v2, the job API and real worker processes.

Nothing is imported here: `python -m pulumi_visgate.local.emulator` starts it, the pytest plugin starts it for tests.
"""
