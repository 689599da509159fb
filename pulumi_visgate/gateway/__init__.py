"""The stateless gateway: accepts jobs, finds or makes endpoints in the caller's Runpod account, streams events."""
