"""The laptop's cloud: Runpod emulator, S3, CDN route, service host."""
