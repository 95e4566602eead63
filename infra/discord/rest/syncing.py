"""Recording what Discord and the log do not have in common, by the very facts that the gateway would have recorded live."""

from collections.abc import Callable
from datetime import datetime

from contracts.envelope import Origin
from contracts.events import RemovalRequested
from contracts.ports import Journal, Posts
from infra.discord.archive.removal_facts import channel_gone, deletion, reduction
from infra.discord.rest.comparing import Difference


async def record(difference: Difference, journal: Journal, posts: Posts, now: Callable[[], datetime]) -> tuple[int, int]:
    """Record a difference; returns how many images are new, and of how many the removal is.

    A removal that was requested before is not counted: the log takes it once. Raises Unavailable.
    """
    new = gone = 0
    for post in difference.missed:
        new += await journal.record(post, Origin(f"message-{post.message_id}"))
    for removal, origin, images in await _removals(difference, posts, now()):
        gone += images * await journal.record(removal, origin)
    return new, gone


async def _removals(difference: Difference, posts: Posts, now: datetime) -> list[tuple[RemovalRequested, Origin, int]]:
    """What is to be requested, and of how many images."""
    if difference.vanished:
        channel = channel_gone(difference.guild_id, difference.channel_id, now)
        return [(channel, Origin(channel.removal_id), len(difference.gone))]
    found = []
    for message_id in difference.deleted:
        known = await posts.of_message(difference.guild_id, str(message_id))
        found += [(removal, Origin(f"message-{message_id}"), len(known)) for removal in deletion(known, now)]
    for message_id, attached in (difference.edited or {}).items():
        known = await posts.of_message(difference.guild_id, str(message_id))
        removals = reduction(known, attached, now)
        found += [(each, Origin(f"message-{message_id}"), len(known) - len(each.keep)) for each in removals]
    return found
