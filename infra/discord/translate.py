"""Converts disnake's objects to facts, without I/O. Nothing else knows both."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import disnake
from disnake.interactions import Interaction

from contracts.errors import MapSeekError
from contracts.events import DiscordFile, DiscordReply, Filters, ImagePosted, Person, Question
from contracts.events.base import is_web_address
from infra.discord.wording import localize

IMAGE_EXTENSIONS = frozenset({".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp"})
MAX_PIECES = 10
"""The most pieces of map art in an answer."""


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """The picture of one embed. `position` counts the message's embeds from 0; sizes are in pixels."""

    position: int
    url: str
    width: int | None
    height: int | None


def is_image(attachment: disnake.Attachment) -> bool:
    """Tell whether an attachment is an image: by Discord's content type, or by its file name if Discord gives none."""
    if attachment.content_type:
        return attachment.content_type.lower().startswith("image/")
    return PurePosixPath(attachment.filename).suffix.lower() in IMAGE_EXTENSIONS


def list_embed_images(embeds: Iterable[disnake.Embed]) -> list[EmbeddedImage]:
    """Return the pictures that embeds show large: an embed's image, or the thumbnail of an unfurled link to an image.

    Discord's own copy (`proxy_url`) is preferred, since the original may be on any host. An address that is not of the web is left
    out: a webhook writes its embeds itself.
    """
    images = []
    for position, embed in enumerate(embeds):
        shown = embed.image
        if not shown.url and embed.type == "image":
            shown = embed.thumbnail
        url = next((url for url in (shown.proxy_url, shown.url) if url and is_web_address(url)), None)
        if url:
            images.append(EmbeddedImage(position, url, shown.width or None, shown.height or None))
    return images


def embed_image_id(message_id: int, position: int) -> str:
    """Return the image id of an embed, which has no snowflake of its own."""
    return f"{message_id}-{position}"


def forwarded_image_id(message_id: int, attachment_id: int) -> str:
    """Return the image id of an attachment of a forwarded message.

    It belongs to the message that forwards it, not to the original.
    """
    return f"{message_id}-{attachment_id}"


def facts_from_message(message: disnake.Message) -> list[ImagePosted]:
    """Return one fact for every image that a guild's message shows or forwards; none for a direct message."""
    if message.guild is None:
        return []
    guild_id, channel_id, message_id = str(message.guild.id), str(message.channel.id), str(message.id)
    thread_of = parent_of_public_thread(message.channel)
    author = Person(id=str(message.author.id), name=message.author.display_name)
    posted_at = disnake.utils.snowflake_time(message.id)
    message_link = f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"

    def build_fact(
        image_id: str,
        url: str,
        filename: str,
        width: int | None,
        height: int | None,
        content_type: str | None = None,
        size: int | None = None,
    ) -> ImagePosted:
        return ImagePosted(
            guild_id=guild_id,
            channel_id=channel_id,
            thread_of=thread_of,
            image_id=image_id,
            message_id=message_id,
            author=author,
            posted_at=posted_at,
            filename=filename,
            message_link=message_link,
            source=DiscordFile(url=url, channel_id=channel_id, message_id=message_id, attachment_id=image_id),
            content_type=content_type,
            size=size,
            width=width,
            height=height,
        )

    def fact_from_file(image_id: str, file: disnake.Attachment) -> ImagePosted:
        return build_fact(image_id, file.url, file.filename, file.width, file.height, file.content_type, file.size)

    snapshots = message.message_snapshots
    forwarded = [(forwarded_image_id(message.id, file.id), file) for snapshot in snapshots for file in snapshot.attachments]
    attached = [(str(file.id), file) for file in message.attachments] + forwarded
    embeds = [*message.embeds, *(embed for snapshot in snapshots for embed in snapshot.embeds)]
    return [fact_from_file(image_id, file) for image_id, file in attached if is_image(file)] + [
        build_fact(embed_image_id(message.id, image.position), image.url, _filename(image.url), image.width, image.height)
        for image in list_embed_images(embeds)
    ]


def parent_of_public_thread(channel: object) -> str | None:
    """Return the id of the channel that a public thread or a forum post belongs to; None for any other channel."""
    return str(channel.parent_id) if isinstance(channel, disnake.Thread) and not channel.is_private() else None


def require_guild_member(interaction: Interaction[Any]) -> tuple[disnake.Guild, disnake.Member]:
    """Return the guild of a command or press, and the member. Raises MapSeekError if the bot is not in the guild."""
    guild, asker = interaction.guild, interaction.author
    if guild is None or not isinstance(asker, disnake.Member):
        raise MapSeekError(localize(str(interaction.locale), "asking-not-here"))
    return guild, asker


def person_from_user(user: disnake.User | disnake.Member) -> Person:
    """Return a person with the name that members of the guild see."""
    return Person(id=str(user.id), name=user.display_name)


def query_from_interaction(
    interaction: Interaction[Any],
    channels: Collection[str],
    *,
    locale: str,
    private: bool,
    message_id: int | None = None,
    filters: Filters | None = None,
) -> Question:
    """Build the `Question` of a search: who asks, what the answer may show, and where it is shown.

    The answer is shown in the interaction's own response, or in the follow-up message `message_id`.
    """
    reply = DiscordReply(
        application_id=str(interaction.application_id),
        token=interaction.token,
        message_id=None if message_id is None else str(message_id),
    )
    return Question(
        asker=person_from_user(interaction.author),
        requested_at=disnake.utils.snowflake_time(interaction.id),
        reply=reply,
        readable_channels=tuple(channels),
        top=MAX_PIECES,
        channel_id=str(interaction.channel_id),
        locale=locale,
        private=private,
        filters=filters,
    )


def _filename(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name or "image"
