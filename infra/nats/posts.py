"""The Posts port: images are looked up in the log itself, which is never behind."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime

from nats.aio.client import Client

from contracts.events import ImagePosted
from contracts.subjects import IMAGES, guild_filter, posts_of_message_filter
from infra.nats.lookup import facts_under
from infra.nats.outages import outages
from infra.nats.tail import past, readable


class LogPosts:
    """Reads the log of images. One message's images are found in milliseconds, a guild's by reading all of its posts."""

    def __init__(self, client: Client, *, timeout: float = 5) -> None:
        self._client = client
        self._js = client.jetstream(timeout=timeout)

    async def of_message(self, guild_id: str, message_id: str) -> list[ImagePosted]:
        with outages():
            facts, _ = await facts_under(self._js, IMAGES, [posts_of_message_filter(guild_id, message_id)])
        return [fact for fact in facts if isinstance(fact, ImagePosted)]

    async def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        """Raises Unavailable, in the middle too when the server goes away there."""
        async with aclosing(past(self._client, IMAGES, [guild_filter(ImagePosted, guild_id)], since=since)) as messages:
            async for message in messages:
                recorded = readable(message)
                if recorded is None or not isinstance(post := recorded.fact, ImagePosted):
                    continue
                if channel_id in (None, post.channel_id, post.thread_of) and author_id in (None, post.author.id):
                    yield post
