"""What members name when they want something forgotten: pure."""

import re

from contracts.events import ImagePosted, RemovalRequested
from contracts.events.base import Instant

_LINK = re.compile(
    r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/channels/(\d{1,20})/\d{1,20}/(\d{1,20})/?(?:[?#]\S*)?", re.ASCII
)
_ID = re.compile(r"(?:\d{17,20}-)?(\d{17,20})", re.ASCII)


def message_named(typed: str, guild_id: str) -> str | None:
    """The id of the message that a link, an id or Discord's `<channel>-<message>` names; None for another guild's or for none."""
    text = typed.strip().removeprefix("<").removesuffix(">")
    if link := _LINK.fullmatch(text):
        return link[2] if link[1] == guild_id else None
    found = _ID.fullmatch(text)
    return found[1] if found else None


def removal_of_author(guild_id: str, person_id: str, removal_id: str, now: Instant) -> RemovalRequested:
    """The removal of everything that a person posted in a guild, with their votes and alerts."""
    return RemovalRequested(
        guild_id=guild_id, removal_id=removal_id, scope="author", target=person_id, cause="forgotten", requested_at=now
    )


def removal_of_message(post: ImagePosted, now: Instant) -> RemovalRequested:
    """The removal of all images of the message that a post is of; asked for twice, it is recorded once."""
    return RemovalRequested(
        guild_id=post.guild_id,
        removal_id=f"forgotten-{post.message_id}",
        scope="message",
        target=post.message_id,
        cause="forgotten",
        requested_at=now,
    )
