"""Builds the facts that request a removal after a deletion on Discord, without I/O.

A removal's id is made from what was deleted, so that it is recorded once.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from contracts.events import ImagePosted, RemovalRequested


def is_embed_image(image_id: str) -> bool:
    """Tell whether an image comes from an embed and is no attachment. Discord removes and restores such images as it likes."""
    return "-" in image_id


def build_deletion_removals(known: Sequence[ImagePosted], now: datetime) -> list[RemovalRequested]:
    """Return the removal for a deleted message; none if the log knows no image of it."""
    if not known:
        return []
    post = known[0]
    return [_build_removal(post.guild_id, f"deleted-{post.message_id}", "message", post.message_id, now)]


def build_edit_removals(known: Sequence[ImagePosted], attached: Collection[str], now: datetime) -> list[RemovalRequested]:
    """Return the removal of the attachments that an edit dropped; none if all are still there."""
    keep = sorted(post.image_id for post in known if is_embed_image(post.image_id) or post.image_id in attached)
    if len(keep) == len(known):
        return []
    post = known[0]
    digest = hashlib.sha256(" ".join(keep).encode()).hexdigest()[:12]
    return [_build_removal(post.guild_id, f"edited-{post.message_id}-{digest}", "message", post.message_id, now, tuple(keep))]


def build_channel_removal(guild_id: str, channel_id: str, now: datetime) -> RemovalRequested:
    """Return the removal of everything posted in a channel or thread, and in the public threads of the channel."""
    return _build_removal(guild_id, f"channel-{channel_id}", "channel", channel_id, now)


def build_guild_removal(guild_id: str, now: datetime) -> RemovalRequested:
    """Return the removal of a guild's whole archive.

    Its id holds the time, since the bot may be added again and removed again.
    """
    return _build_removal(guild_id, f"guild-{guild_id}-{int(now.timestamp())}", "guild", guild_id, now)


def _build_removal(
    guild_id: str,
    removal_id: str,
    scope: Literal["message", "channel", "guild"],
    target: str,
    now: datetime,
    keep: tuple[str, ...] = (),
) -> RemovalRequested:
    return RemovalRequested(
        guild_id=guild_id, removal_id=removal_id, scope=scope, target=target, cause="deleted", requested_at=now, keep=keep
    )
