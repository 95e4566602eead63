"""The images that the log has, by guild, channel and message: what Discord, and what requests for removal, speak of."""

from contextlib import aclosing

from contracts.events import ImagePosted
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.nats.connection import Client
from infra.nats.reader import past, readable

Posted = dict[str, dict[int, dict[int, list[str]]]]
"""The images that the log has, by guild, channel and message; local ones are no matter of Discord's."""


async def read_posted(client: Client, guild: str | None = None) -> Posted:
    """Read the posts. Raises Unavailable."""
    posted: Posted = {}
    filters = [kind_filter(ImagePosted) if guild is None else guild_filter(ImagePosted, guild)]
    async with aclosing(past(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = readable(message)
            if recorded is not None and isinstance(post := recorded.fact, ImagePosted) and post.message_id.isdigit():
                channel = posted.setdefault(post.guild_id, {}).setdefault(int(post.channel_id), {})
                channel.setdefault(int(post.message_id), []).append(post.image_id)
    return posted
