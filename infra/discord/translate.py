"""From disnake's objects to facts: pure, and the only place where the two meet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import disnake
from disnake.interactions import ApplicationCommandInteraction

from contracts.errors import MapSeekError
from contracts.events import DiscordFile, DiscordReply, ImagePosted, Person, Question, SearchRequested

IMAGE_EXTENSIONS = frozenset({".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp"})
READING = disnake.Permissions(view_channel=True, read_message_history=True)


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """The picture of one embed; `position` counts the message's embeds from 0, sizes are pixels."""

    position: int
    url: str
    width: int | None
    height: int | None


def is_image(attachment: disnake.Attachment) -> bool:
    """Whether Discord says that it is an image, or, where Discord says nothing, whether its name does."""
    if attachment.content_type:
        return attachment.content_type.lower().startswith("image/")
    return PurePosixPath(attachment.filename).suffix.lower() in IMAGE_EXTENSIONS


def images_of_embeds(embeds: Iterable[disnake.Embed]) -> list[EmbeddedImage]:
    """The pictures that embeds show large: an embed's image, or the thumbnail that stands for an unfurled link to an image.

    Discord's own copy (`proxy_url`) is preferred, since the original may lie anywhere.
    """
    images = []
    for position, embed in enumerate(embeds):
        shown = embed.image
        if not shown.url and embed.type == "image":
            shown = embed.thumbnail
        url = shown.proxy_url or shown.url
        if url:
            images.append(EmbeddedImage(position, url, shown.width or None, shown.height or None))
    return images


def embed_id(message_id: int, position: int) -> str:
    """The image id of an embed, which has no snowflake of its own."""
    return f"{message_id}-{position}"


def facts_of_message(message: disnake.Message) -> list[ImagePosted]:
    """One fact for every image that a guild's message shows; none for a direct message."""
    if message.guild is None:
        return []
    guild_id, channel_id, message_id = str(message.guild.id), str(message.channel.id), str(message.id)
    author = Person(id=str(message.author.id), name=message.author.display_name)
    posted_at = disnake.utils.snowflake_time(message.id)
    message_link = f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"

    def posted(
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

    attached = [
        posted(str(file.id), file.url, file.filename, file.width, file.height, file.content_type, file.size)
        for file in message.attachments
        if is_image(file)
    ]
    embedded = [
        posted(embed_id(message.id, image.position), image.url, _filename(image.url), image.width, image.height)
        for image in images_of_embeds(message.embeds)
    ]
    return attached + embedded


def search_of(interaction: ApplicationCommandInteraction[Any], attachment: disnake.Attachment) -> SearchRequested:
    """The question that a member asks with a slash command. Raises MapSeekError where the bot is no member of the guild."""
    guild, asker = interaction.guild, interaction.author
    if guild is None or not isinstance(asker, disnake.Member):
        raise MapSeekError("Searching works in a server that MapSeek was added to; ask there.")
    return SearchRequested(
        guild_id=str(guild.id),
        search_id=str(interaction.id),
        question=Question(
            asker=Person(id=str(asker.id), name=asker.display_name),
            requested_at=disnake.utils.snowflake_time(interaction.id),
            reply=DiscordReply(application_id=str(interaction.application_id), token=interaction.token),
            readable_channels=readable_channels(guild, asker),
        ),
        filename=attachment.filename,
        source=DiscordFile(url=attachment.url, attachment_id=str(attachment.id)),
    )


def readable_channels(guild: disnake.Guild, asker: disnake.Member) -> tuple[str, ...]:
    """The ids of the channels and known threads of a guild whose history the asker may read."""
    channels = [
        str(channel.id)
        for channel in guild.channels
        if not isinstance(channel, disnake.CategoryChannel) and channel.permissions_for(asker) >= READING
    ]
    return (*channels, *(str(thread.id) for thread in guild.threads if _may_read_thread(thread, asker)))


def _may_read_thread(thread: disnake.Thread, asker: disnake.Member) -> bool:
    if thread.parent is None:
        return False
    permissions = thread.permissions_for(asker)
    invited = not thread.is_private() or any(member.id == asker.id for member in thread.members)
    return permissions >= READING and (invited or permissions.manage_threads)


def _filename(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name or "image"
