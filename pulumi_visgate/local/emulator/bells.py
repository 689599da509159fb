"""Wake-ups between handlers and the scheduler: wait for a key to ring, without polling."""

import asyncio


class Bells:
    """Named one-shot signals on one event loop.

    Check the state, then wait: nothing runs in between, so no ring is lost.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def ring(self, *keys: str) -> None:
        """Wake everybody who waits for one of these keys."""
        for key in keys:
            for waiter in self._waiting.pop(key, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def ring_all(self) -> None:
        """Wake everybody, for shutdown."""
        self.ring(*list(self._waiting))

    def expect(self, *keys: str) -> asyncio.Future[None]:
        """Return what is done when one of these keys rings; hand it to `forget` afterwards."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._waiting.setdefault(key, set()).add(waiter)
        return waiter

    def forget(self, waiter: asyncio.Future[None], *keys: str) -> None:
        """Stop to wait."""
        waiter.cancel()
        for key in keys:
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.discard(waiter)
                if not waiting:
                    del self._waiting[key]

    async def wait(self, *keys: str, timeout_s: float | None) -> bool:
        """Wait until a key rings.

        Args:
            keys: Any of these wakes.
            timeout_s: Longest wait in seconds; None waits for ever.

        Returns:
            Whether a key rang.
        """
        waiter = self.expect(*keys)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            self.forget(waiter, *keys)
        return True
