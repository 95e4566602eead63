"""The stage remove: records a tombstone for an image, or for every image of a message, channel, author or guild.

Replay-safe: a tombstone depends on the request alone, so a second one says the same and is refused by the log.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from contracts.events import Fact, ImagePosted, ImageRemoved, RemovalRequested
from contracts.ports import LogEraser, Posts
from contracts.stage import Stage

EDITED_PREFIX = "edited-"
"""Prefix of the removal ids of edited messages; others begin with `deleted-`. An edit without attachments keeps its embeds."""

MAX_CLOCK_SKEW = timedelta(minutes=1)
"""How far Discord's clock (the time of posts) may be ahead of ours (the time of the request)."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`posts` finds the images; `erasure` deletes a person's votes and alerts, and kept messages that cannot be read."""

    posts: Posts
    erasure: LogEraser


async def handle(event: RemovalRequested, deps: Deps) -> Sequence[Fact]:
    """Record ImageRemoved for every image that the request is about. For an author, also erase their votes and alerts.

    An image that expired stays if its message shows it again by now. Kept messages that cannot be read are erased with the rest,
    except for an edit: the message is still there.
    """
    removed = [
        ImageRemoved(
            **post.identity, message_id=post.message_id, removed_at=event.requested_at, cause=event.cause, expired=event.expired
        )
        async for post in _find_posts(event, deps.posts)
        if not _is_unaffected(post, event)
    ]
    if event.scope == "author":
        await deps.erasure.erase_person(event.guild_id, event.target)
    if event.scope != "image" and not event.removal_id.startswith(EDITED_PREFIX):
        await deps.erasure.erase_unreadable(event.guild_id, event.scope, event.target, event.requested_at + MAX_CLOCK_SKEW)
    return removed


async def _find_posts(event: RemovalRequested, posts: Posts) -> AsyncIterator[ImagePosted]:
    match event.scope:
        case "image":
            for known in await posts.read_message(event.guild_id, str(event.message_id)):
                if known.image_id == event.target and known.post is not None and (known.hidden or not event.expired):
                    yield known.post
            return
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
    """Whether an image of the message stays.

    An edited message keeps what is still attached, and its embeds (their ids have a dash): Discord clears embeds and adds them
    again.
    """
    return image_id in event.keep or (event.removal_id.startswith(EDITED_PREFIX) and "-" in image_id)


def _is_unaffected(post: ImagePosted, event: RemovalRequested) -> bool:
    """Whether this post is not affected by the request.

    People who asked to be forgotten, and guilds that invite the bot again, may post again. Such posts stay, however late or often
    the request is handled.
    """
    if event.scope == "message":
        return is_kept(event, post.image_id)
    return event.scope in ("author", "guild") and post.posted_at > event.requested_at + MAX_CLOCK_SKEW


STAGE = Stage(name="remove", consumes=(RemovalRequested,), emits=(ImageRemoved,), handle=handle, deps=Deps)
