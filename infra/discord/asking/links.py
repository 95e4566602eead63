"""Links that can be asked about: to a message on Discord, or to a picture that lies with Discord."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from contracts.events import DiscordFile

PICTURE_ORIGINS = frozenset({"https://cdn.discordapp.com", "https://media.discordapp.net"})
IMAGE_SUFFIXES = frozenset({"", ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp"})

_MESSAGE = re.compile(
    r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/channels/(\d{1,20})/(\d{1,20})/(\d{1,20})/?(?:[?#]\S*)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class MessageLink:
    """Where a message is."""

    guild_id: int
    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class PictureLink:
    """A picture by its whole URL, signature included, and the name of its file."""

    url: str
    filename: str

    @property
    def file(self) -> DiscordFile:
        """Where the picture lies. Which message it is of stays open, so an expired URL is never signed anew for somebody else."""
        return DiscordFile(url=self.url)


class NotAskable(ValueError):
    """A link that cannot be asked about; its text names the message that says why."""


def parse_link(text: str, origins: Collection[str] = ()) -> MessageLink | PictureLink:
    """What a member means by a link; `origins` are trusted for pictures besides Discord's own. Raises NotAskable."""
    link = text.strip().removeprefix("<").removesuffix(">")
    if found := _MESSAGE.fullmatch(link):
        guild_id, channel_id, message_id = map(int, found.groups())
        return MessageLink(guild_id, channel_id, message_id)
    try:
        parts = urlsplit(link)
    except ValueError:
        raise NotAskable("asking-link-unknown") from None
    if any(mark.isspace() for mark in link) or f"{parts.scheme}://{parts.netloc.lower()}" not in PICTURE_ORIGINS | set(origins):
        raise NotAskable("asking-link-unknown")
    path = PurePosixPath(parts.path)
    if not path.name or path.suffix.lower() not in IMAGE_SUFFIXES:
        raise NotAskable("asking-link-no-picture")
    return PictureLink(link, path.name)
