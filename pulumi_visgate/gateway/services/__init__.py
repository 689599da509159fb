"""Decisions of the gateway, over the Runpod client and the contract; no HTTP of its own."""
