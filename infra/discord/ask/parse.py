"""Parses what members ask with: links to messages and pictures, words, dates, and the pictures of a message."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import disnake

from contracts.events import DiscordFile
from contracts.events.base import is_web_address
from infra.discord.pictures import ATTACHMENT_IS_SPOILER, PICTURE_SUFFIXES, SPOILER_PREFIX, ShownPicture

PICTURE_ORIGINS = frozenset({"https://cdn.discordapp.com", "https://media.discordapp.net"})

_MESSAGE = re.compile(
    r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/channels/(\d{1,20})/(\d{1,20})/(\d{1,20})/?(?:[?#]\S*)?",
    re.ASCII | re.IGNORECASE,
)

_EXCLUDED = re.compile(r"""(?:^|(?<=\s))[-\N{MINUS SIGN}](?:["“„”]([^"“„”]*)["“„”]|([^\s"“„”-]\S*))""")

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?", re.ASCII)

MAX_QUERY_PICTURES = 10
"""The most pictures of one message that are searched. Each has an answer of its own."""


@dataclass(frozen=True, slots=True)
class MessageLink:
    """Where a message is: guild, channel and message id."""

    guild_id: int
    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class PictureLink:
    """A picture: its whole URL, signature included, and the name of its file."""

    url: str
    filename: str


class UnusableLink(ValueError):
    """A link that cannot be searched with. Its text is the key of the message that says why."""


def parse_message_link(text: str) -> MessageLink | None:
    """Parse a link to a message, bare or in angle brackets; return None for any other text."""
    found = _MESSAGE.fullmatch(_without_brackets(text))
    return MessageLink(*map(int, found.groups())) if found else None


def parse_link(text: str, origins: Collection[str] = ()) -> MessageLink | PictureLink:
    """Parse a link to a message or a picture. `origins` are trusted for pictures, besides Discord's own. Raises UnusableLink."""
    if message := parse_message_link(text):
        return message
    link = _without_brackets(text)
    try:
        parts = urlsplit(link)
    except ValueError:
        raise UnusableLink("asking-link-unknown") from None
    link = parts.scheme + link[len(parts.scheme) :]
    if not is_web_address(link) or f"{parts.scheme}://{parts.netloc.lower()}" not in PICTURE_ORIGINS | set(origins):
        raise UnusableLink("asking-link-unknown")
    path = PurePosixPath(parts.path)
    if not path.name or path.suffix.lower() not in {"", *PICTURE_SUFFIXES}:
        raise UnusableLink("asking-link-no-picture")
    return PictureLink(link, path.name)


def _without_brackets(text: str) -> str:
    return text.strip().removeprefix("<").removesuffix(">")


@dataclass(frozen=True, slots=True)
class TextQuery:
    """Words to search for, in one line, and words to exclude, in the order in which they were typed. Either may be empty."""

    wanted: str
    excluded: tuple[str, ...]


def parse_text_query(query: str) -> TextQuery:
    """Parse a text query: `dragon -night -"stone wall"` searches for a dragon without night or stone walls.

    A hyphen inside a word belongs to the word.
    """
    found = [_collapse_spaces(quoted or single) for quoted, single in _EXCLUDED.findall(query)]
    excluded = tuple(dict.fromkeys(each for each in found if each))
    return TextQuery(_collapse_spaces(_EXCLUDED.sub(" ", query)), excluded)


def _collapse_spaces(text: str) -> str:
    return " ".join(text.split())


def parse_date(date: str) -> datetime | None:
    """Return the first moment of `2024`, `2024-03` or `2024-03-31` in UTC; None for any other text."""
    found = _DATE.fullmatch(date.strip())
    if found is None:
        return None
    year, month, day = (int(part) if part else 1 for part in found.groups())
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class QueryPicture:
    """A picture to search for, the name of its file, and whether it was posted as a spoiler."""

    filename: str
    source: DiscordFile
    spoiler: bool = False


def picture_from_attachment(attachment: disnake.Attachment) -> QueryPicture:
    """Return a picture that was attached to a command. It belongs to no message."""
    source = DiscordFile(url=attachment.url, attachment_id=str(attachment.id))
    spoiler = attachment.is_spoiler() or bool(attachment.flags.value & ATTACHMENT_IS_SPOILER)
    return QueryPicture(attachment.title or attachment.filename, source, spoiler)


def picture_from_link(link: PictureLink) -> QueryPicture:
    """Return a linked picture. It names no message, so that an expired URL is never signed again for somebody else."""
    return QueryPicture(link.filename, DiscordFile(url=link.url), link.filename.startswith(SPOILER_PREFIX))


def pictures_from_message(channel_id: int, message_id: int, pictures: Iterable[ShownPicture]) -> list[QueryPicture]:
    """Return the pictures that a message shows, at most MAX_QUERY_PICTURES."""
    found = []
    for picture in pictures:
        source = DiscordFile(
            url=picture.url, channel_id=str(channel_id), message_id=str(message_id), attachment_id=picture.image_id
        )
        found.append(QueryPicture(picture.filename, source, picture.spoiler))
    return found[:MAX_QUERY_PICTURES]
