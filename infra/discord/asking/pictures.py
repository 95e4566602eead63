"""The pictures that a question can be about."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import disnake

from contracts.events import DiscordFile
from infra.discord.translate import embed_id, images_of_embeds, is_image

MOST_PICTURES = 10
"""How many pictures of one message are asked about: each has an answer of its own."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to look for, and its name."""

    filename: str
    source: DiscordFile


def picture_of(attachment: disnake.Attachment) -> Picture:
    """A picture that was attached to a command; it belongs to no message."""
    return Picture(attachment.filename, DiscordFile(url=attachment.url, attachment_id=str(attachment.id)))


def pictures_of(message: disnake.Message) -> list[Picture]:
    """The pictures that a message shows, attached, embedded or forwarded with it, at most as many as can be asked about."""
    found: dict[str, Picture] = {}
    channel_id, message_id = str(message.channel.id), str(message.id)

    def show(image_id: str, url: str, filename: str) -> None:
        source = DiscordFile(url=url, channel_id=channel_id, message_id=message_id, attachment_id=image_id)
        found.setdefault(image_id, Picture(filename, source))

    parts: list[disnake.Message | disnake.message.ForwardedMessage] = [message, *message.message_snapshots]
    for part in parts:
        for file in filter(is_image, part.attachments):
            show(str(file.id), file.url, file.filename)
    for part in parts:
        for image in images_of_embeds(part.embeds):
            show(embed_id(message.id, image.position), image.url, PurePosixPath(urlsplit(image.url).path).name or "image")
    return list(found.values())[:MOST_PICTURES]
