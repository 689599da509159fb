"""What of a URL may be shown: presigned URLs and webhooks carry secrets in their paths and queries."""

from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return the host of a URL, or words that say that it has none."""
    try:
        return urlsplit(url).hostname or "a URL without a host"
    except ValueError:
        return "a URL that cannot be read"
