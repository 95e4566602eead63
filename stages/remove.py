"""Remove: what was deleted on Discord, or is to be forgotten, becomes a tombstone for every image that it is about.

Replay-safe: a tombstone is made of the request alone, so the one recorded first says the same; what is removed already is refused.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from contracts.events import Fact, ImagePosted, ImageRemoved, RemovalRequested
from contracts.ports import LogEraser, Posts
from contracts.stage import Stage

EDITED_PREFIX = "edited-"
"""How the removal ids of edited messages begin, as against `deleted-` ones: an edit with nothing left attached keeps its embeds."""

MAX_CLOCK_SKEW = timedelta(minutes=1)
"""How far Discord's clock, which dates posts, may be ahead of the one that dated the request."""


@dataclass(frozen=True, slots=True)
class Deps:
    """Where the images are found, and what else is known of a person erased."""

    posts: Posts
    erasure: LogEraser


async def handle(event: RemovalRequested, deps: Deps) -> Sequence[Fact]:
    """One ImageRemoved for every image that the request is about; for an author, their votes and alerts are erased as well."""
    removed = [
        ImageRemoved(**post.identity, message_id=post.message_id, removed_at=event.requested_at, cause=event.cause)
        async for post in _posts(event, deps.posts)
        if not _stays(post, event)
    ]
    if event.scope == "author":
        await deps.erasure.erase_person(event.guild_id, event.target)
    return removed


async def _posts(event: RemovalRequested, posts: Posts) -> AsyncIterator[ImagePosted]:
    match event.scope:
        case "message":
            for post in await posts.of_message(event.guild_id, event.target):
                yield post
            return
        case "channel":
            found = posts.of_guild(event.guild_id, channel_id=event.target)
        case "author":
            found = posts.of_guild(event.guild_id, author_id=event.target)
        case "guild":
            found = posts.of_guild(event.guild_id)
    async for post in found:
        yield post


def is_kept(event: RemovalRequested, image_id: str) -> bool:
    """Whether an image of the message stays there.

    An edited message keeps what is still attached, and its embeds, whose ids have a dash: Discord clears those and puts them back.
    """
    return image_id in event.keep or (event.removal_id.startswith(EDITED_PREFIX) and "-" in image_id)


def _stays(post: ImagePosted, event: RemovalRequested) -> bool:
    """Whether the request is not about this post after all.

    Whoever asked to be forgotten, or invites the bot again, may post anew, however late or often the request is worked on.
    """
    if event.scope == "message":
        return is_kept(event, post.image_id)
    return event.scope in ("author", "guild") and post.posted_at > event.requested_at + MAX_CLOCK_SKEW


STAGE = Stage(name="remove", consumes=(RemovalRequested,), emits=(ImageRemoved,), handle=handle, deps=Deps)
