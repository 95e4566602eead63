"""Builds the facts that follow from what happened to a message on Discord, without I/O.

What a message shows is compared with what the log knows of it (`list_changes`). Deletions become requests for a removal, whose id
is made from what was deleted, so that it is recorded once.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from contracts.events import DiscordFile, ImageHidden, ImagePosted, ImageShown, RemovalRequested
from contracts.ports import KnownImage
from infra.discord.pictures import PostedMessage, read_address


def list_changes(
    message: PostedMessage, shown: Sequence[ImagePosted], known: Sequence[KnownImage], now: datetime
) -> list[ImagePosted | ImageShown | ImageHidden | RemovalRequested]:
    """List the facts by which the log comes to know exactly what a message shows.

    `shown` are the posts of its pictures, `known` is what the log has about its images. A picture is known by its id or by its
    address. What is shown no more is hidden, since Discord clears previews and brings them back, and people edit to and fro. Only
    an attachment that a person took out of their own message is removed: it cannot come back.
    """
    facts: list[ImagePosted | ImageShown | ImageHidden | RemovalRequested] = []
    still_shown: set[str] = set()
    for post in shown:
        same = [image for image in known if image.post is not None and not image.removed and _is_same(image.post, post)]
        still_shown.update(image.image_id for image in same)
        if not same:
            facts += _record_new(post, known)
        elif all(image.hidden for image in same):
            facts.append(_show(same[0], same[0].turn, post, now))
        else:
            changed = (image for image in same if not image.hidden and image.spoiler != post.spoiler)
            facts += [_show(image, image.turn + 1, post, now) for image in changed]
    for image in known:
        if image.post is None or image.removed or image.image_id in still_shown:
            continue
        if message.by_person and is_own_attachment(image.image_id):
            facts.append(build_image_removal(image.post, f"dropped-{image.image_id}", now))
        elif not image.hidden:
            facts.append(ImageHidden(**image.post.identity, message_id=image.post.message_id, turn=image.turn + 1, hidden_at=now))
    return facts


def is_own_attachment(image_id: str) -> bool:
    """Tell whether an image is an attachment of its message, and no embed, component, or part of a forwarded message."""
    return "-" not in image_id


def _is_same(known: ImagePosted, post: ImagePosted) -> bool:
    return known.image_id == post.image_id or _address_of(known) == _address_of(post)


def _address_of(post: ImagePosted) -> str:
    return read_address(post.source.url) if isinstance(post.source, DiscordFile) else post.image_id


def _show(image: KnownImage, turn: int, post: ImagePosted, now: datetime) -> ImageShown:
    identity = image.post.identity if image.post is not None else post.identity
    return ImageShown(**identity, message_id=post.message_id, turn=turn, shown_at=now, spoiler=post.spoiler)


def _record_new(post: ImagePosted, known: Iterable[KnownImage]) -> list[ImagePosted]:
    """Return the post of a picture that the log does not know. A picture that was erased for good stays so.

    A picture that was erased because it was not shown for a week, and is shown again, becomes an image of its own.
    """
    tombstones = {image.image_id: image for image in known if image.removed}
    image_id, number = post.image_id, 1
    while (tombstone := tombstones.get(image_id)) is not None:
        if not tombstone.expired:
            return []
        number += 1
        image_id = f"{post.image_id}-{number}"
    source = post.source.model_copy(update={"attachment_id": image_id}) if isinstance(post.source, DiscordFile) else post.source
    return [post if number == 1 else post.model_copy(update={"image_id": image_id, "source": source})]


def build_deletion_removal(guild_id: str, message_id: str, now: datetime) -> RemovalRequested:
    """Return the removal of a deleted message: of its images, and of its payload if that could not be read."""
    return _build_removal(guild_id, f"deleted-{message_id}", "message", message_id, now)


def build_image_removal(post: ImagePosted, removal_id: str, now: datetime, *, expired: bool = False) -> RemovalRequested:
    """Return the removal of one image of a message. `expired`: the message has not shown it for a week."""
    return RemovalRequested(
        guild_id=post.guild_id,
        removal_id=removal_id,
        scope="image",
        target=post.image_id,
        message_id=post.message_id,
        cause="deleted",
        requested_at=now,
        expired=expired,
    )


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
) -> RemovalRequested:
    return RemovalRequested(guild_id=guild_id, removal_id=removal_id, scope=scope, target=target, cause="deleted", requested_at=now)
