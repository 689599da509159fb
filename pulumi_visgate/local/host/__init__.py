"""The service host: one process of the local cloud that runs services of the stack and serves artifacts like a CDN.

Run with `python -m pulumi_visgate.local.host --home .visgate`.
"""
