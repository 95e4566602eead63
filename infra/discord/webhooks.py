"""disnake's webhook calls, without its memory of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from disnake.webhook.async_ import AsyncWebhookAdapter, async_context


@contextmanager
def forgetful() -> Iterator[None]:
    """Calls inside use an adapter of their own: disnake's common one keeps a lock, by its token, for every interaction ever."""
    token = async_context.set(AsyncWebhookAdapter())
    try:
        yield
    finally:
        async_context.reset(token)
