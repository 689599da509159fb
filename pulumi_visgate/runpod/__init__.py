"""Layer 1: the typed client of Runpod API v2 and its job API; knows httpx and pydantic, never Pulumi."""
