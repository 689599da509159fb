"""What gateway, worker and resources must agree on: names, tasks, jobs, events, signing, redaction.

Pure and light: pydantic only, no I/O. Anything may import it; it imports nothing of the product.
"""
