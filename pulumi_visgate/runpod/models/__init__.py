"""Wire models of Runpod API v2."""
