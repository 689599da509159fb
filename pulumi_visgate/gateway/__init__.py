"""The stateless ASGI gateway."""
