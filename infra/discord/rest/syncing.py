"""Recording what Discord and the log do not have in common, by the very facts that the gateway would have recorded live."""

from collections.abc import Callable
from datetime import datetime

from contracts.envelope import Origin
from contracts.events import Fact, RemovalRequested
from contracts.ports import Journal, Posts
from infra.discord.archiving.removing import channel_gone, deletion, reduction
from infra.discord.rest.comparing import Difference


async def record(difference: Difference, journal: Journal, posts: Posts, now: Callable[[], datetime]) -> tuple[int, int]:
    """Record a difference; returns how many images are new, and of how many the removal is. Raises Unavailable."""
    new = 0
    for post in difference.missed:
        new += await journal.record(post, Origin(f"message-{post.message_id}"))
    for fact, origin in await _removals(difference, posts, now()):
        await journal.record(fact, origin)
    return new, len(difference.gone)


async def _removals(difference: Difference, posts: Posts, now: datetime) -> list[tuple[Fact, Origin]]:
    if difference.vanished:
        channel = channel_gone(difference.guild_id, difference.channel_id, now)
        return [(channel, Origin(channel.removal_id))]
    found: list[tuple[Fact, Origin]] = []
    for message_id in difference.deleted:
        known = await posts.of_message(difference.guild_id, str(message_id))
        found += _about(message_id, deletion(known, now))
    for message_id, attached in (difference.edited or {}).items():
        known = await posts.of_message(difference.guild_id, str(message_id))
        found += _about(message_id, reduction(known, attached, now))
    return found


def _about(message_id: int, removals: list[RemovalRequested]) -> list[tuple[Fact, Origin]]:
    return [(removal, Origin(f"message-{message_id}")) for removal in removals]
