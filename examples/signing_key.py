"""A key that webhooks are signed with; another `rotation` makes another key."""

import pulumi

from pulumi_visgate import SigningKey

webhooks = SigningKey("webhooks", rotation="2026-11")
pulumi.export("webhook_key", webhooks.value)
