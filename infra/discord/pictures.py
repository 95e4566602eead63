"""What a message shows, read from its payload as Discord sends it, without I/O.

Payloads are read here and not through disnake's objects: disnake raises an error for a whole page of messages if it cannot read
one of them, and it drops what it does not know. The names of the fields are those of Discord's documentation (Message, Attachment,
Embed, Component).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pydantic import ValidationError

from contracts.events import Person
from contracts.events.base import is_web_address

DiscordPayload = Mapping[str, Any]
"""A JSON object of Discord."""

PICTURE_SUFFIXES = frozenset({".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".avif", ".heic", ".heif"})
"""The suffixes of pictures that people post. Whether a file is a picture that can be read is decided by its bytes."""

SPOILER_PREFIX = "SPOILER_"
CROSSPOSTED_COPY, EMBEDS_SUPPRESSED = 1 << 1, 1 << 2
"""Flags of a message."""
ATTACHMENT_IS_SPOILER = 1 << 3
"""A flag of an attachment."""
THREAD_STARTER = 21
"""The type of the first message of a thread, which stands for the message that the thread was started from."""

DISCORD_HOSTS = ("discordapp.com", "discordapp.net", "discord.com")
SIGNATURE = frozenset({"ex", "is", "hm"})
"""The parameters with which Discord signs the URL of a file. They change; every other part of a URL belongs to it."""

_ATTACHMENT_PATH = re.compile(r"/(?:ephemeral-)?attachments/[0-9]{1,20}/([0-9]{1,20})/[^/]*", re.ASCII)
_PROXIED_PATH = re.compile(r"/external/[^/]+/(?:(%3F[^/]*)/)?(https?)/(.+)", re.ASCII | re.IGNORECASE)
_DIGEST_LENGTH = 20
_MIME_TYPES = MimeTypes()


class UnreadableMessage(ValueError):
    """A message's payload that cannot be read. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture that a message shows.

    `address` identifies it within the message: the id of the attachment, or the URL without Discord's signature. `image_id` is the
    id that it gets when it is recorded. `url` is where it is fetched. Width and height are pixels, `size` is bytes, all as Discord
    says.
    """

    address: str
    image_id: str
    url: str
    filename: str
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    spoiler: bool = False


@dataclass(frozen=True, slots=True)
class PostedMessage:
    """A message as it was when it was read. `read_at` is that moment by the caller's clock (see `RecentChanges`).

    `by_person` is False for bots and webhooks. `edited`: its author changed it since. `stands_for` are the channel and the message
    that the first message of a thread stands for.
    """

    id: int
    author: Person
    by_person: bool
    edited: bool
    pictures: tuple[ShownPicture, ...]
    stands_for: tuple[int, int] | None = None
    read_at: float = 0.0


def read_message(payload: DiscordPayload, *, read_at: float = 0.0) -> PostedMessage:
    """Read a message. Raises UnreadableMessage."""
    try:
        author = payload["author"]
        return PostedMessage(
            id=int(payload["id"]),
            author=Person(id=str(author["id"]), name=_read_name(author, payload.get("member"))),
            by_person=not author.get("bot") and not payload.get("webhook_id"),
            edited=payload.get("edited_timestamp") is not None,
            pictures=tuple(_list_pictures(payload)),
            stands_for=_read_reference(payload) if payload.get("type") == THREAD_STARTER else None,
            read_at=read_at,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnreadableMessage(describe_error(error)) from error


def list_pictures(payload: DiscordPayload) -> list[ShownPicture]:
    """List the pictures that a message shows now, each once, in the order in which a member sees them. Raises UnreadableMessage.

    They are its attachments, and what its embeds and components show, and the same of the messages that it forwards.
    """
    return list(read_message(payload).pictures)


def _list_pictures(message: DiscordPayload) -> list[ShownPicture]:
    message_id = str(int(message["id"]))
    own_ids = not int(message.get("flags") or 0) & CROSSPOSTED_COPY
    found: dict[str, ShownPicture] = {}
    snapshots = [snapshot["message"] for snapshot in message.get("message_snapshots") or ()]
    shown = [
        *_from_attachments(message, message_id, own_ids=own_ids),
        *(picture for each in snapshots for picture in _from_attachments(each, message_id, own_ids=False)),
        *(picture for each in (message, *snapshots) for picture in _from_embeds(each, message_id)),
        *(picture for each in (message, *snapshots) for picture in _from_components(each.get("components"), message_id)),
    ]
    for picture in shown:
        known = found.setdefault(picture.address, picture)
        if picture.spoiler and not known.spoiler:
            found[picture.address] = replace(known, spoiler=True)
    return list(found.values())


def _from_attachments(message: DiscordPayload, message_id: str, *, own_ids: bool) -> Iterator[ShownPicture]:
    """Yield the attached pictures.

    The copies of a crossposted or forwarded message have the attachments of the original, so there an attachment's id alone would
    name two images.
    """
    for file in message.get("attachments") or ():
        attachment_id, filename = str(int(file["id"])), str(file["filename"])
        content_type, width, height = file.get("content_type"), file.get("width"), file.get("height")
        if may_be_picture(filename, content_type, width, height):
            if not is_web_address(file["url"]):
                raise ValueError("the URL of an attachment is no address of the web")
            yield ShownPicture(
                address=attachment_id,
                image_id=attachment_id if own_ids else f"{message_id}-{attachment_id}",
                url=file["url"],
                filename=file.get("title") or filename,
                content_type=content_type,
                size=file.get("size"),
                width=width or None,
                height=height or None,
                spoiler=filename.startswith(SPOILER_PREFIX) or bool(int(file.get("flags") or 0) & ATTACHMENT_IS_SPOILER),
            )


def _from_embeds(message: DiscordPayload, message_id: str) -> Iterator[ShownPicture]:
    """Yield what embeds show: the image, and the thumbnail unless it only stands for a video."""
    if int(message.get("flags") or 0) & EMBEDS_SUPPRESSED:
        return
    for embed in message.get("embeds") or ():
        moving = embed.get("type") in ("video", "gifv") or bool(embed.get("video"))
        for media in (embed.get("image"), None if moving else embed.get("thumbnail")):
            if media and (picture := _from_media(media, message_id, spoiler=False)) is not None:
                yield picture


def _from_components(components: Any, message_id: str, *, spoiler: bool = False) -> Iterator[ShownPicture]:
    """Yield what components show: galleries, thumbnails of sections and files, also inside containers and unknown components."""
    for component in components or ():
        covered = spoiler or bool(component.get("spoiler"))
        for item in (component, *(component.get("items") or ())):
            media, sides = item.get("media"), (1, 1)  # a gallery or a thumbnail shows a picture or a video, measured or not
            if not media and (media := item.get("file")):
                sides = (media.get("width"), media.get("height"))
            if media:
                picture = _from_media(media, message_id, spoiler=covered or bool(item.get("spoiler")), name=item.get("name"))
                if picture is not None and may_be_picture(picture.filename, picture.content_type, *sides):
                    yield picture
        nested = [*(component.get("components") or ()), component.get("accessory"), component.get("component")]
        yield from _from_components([each for each in nested if each], message_id, spoiler=covered)


def _from_media(media: DiscordPayload, message_id: str, *, spoiler: bool, name: str | None = None) -> ShownPicture | None:
    """Return the picture at the address that an embed or a component shows; None if that is no picture of the web.

    A webhook writes its embeds itself. Discord's own copy (`proxy_url`) is fetched, since the original may be on any host.
    """
    content_type = media.get("content_type")
    urls = [url for url in (media.get("proxy_url"), media.get("url")) if url and is_web_address(url)]
    if not urls or (content_type or "").lower().startswith(("video/", "audio/")):
        return None
    address = read_address(urls[-1])
    filename = name or PurePosixPath(urlsplit(urls[-1]).path).name or "image"
    return ShownPicture(
        address=address,
        image_id=f"{message_id}-{address if address.isdecimal() else _digest(address)}",
        url=urls[-1] if address.isdecimal() else urls[0],
        filename=filename,
        content_type=content_type,
        width=media.get("width") or None,
        height=media.get("height") or None,
        spoiler=spoiler or filename.startswith(SPOILER_PREFIX),
    )


def may_be_picture(filename: str, content_type: str | None, width: int | None = None, height: int | None = None) -> bool:
    """Tell whether a file is worth fetching as a picture: by its suffix, its content type, or because Discord measured its sides.

    Videos have sides, too. Only the bytes decide whether it is one.
    """
    if PurePosixPath(filename).suffix.lower() in PICTURE_SUFFIXES:
        return True
    kind = (content_type or _MIME_TYPES.guess_type(filename)[0] or "").lower().partition("/")[0]
    return kind == "image" or (kind not in ("video", "audio", "text") and bool(width and height))


def read_address(url: str) -> str:
    """Return by what a picture at a URL is known: its attachment's id, or the URL of the original without Discord's signature."""
    parts = urlsplit(url)
    host = parts.netloc.lower()
    query = parse_qsl(parts.query, keep_blank_values=True)
    of_discord = any(host == each or host.endswith(f".{each}") for each in DISCORD_HOSTS)
    if (attached := _ATTACHMENT_PATH.fullmatch(parts.path)) and (of_discord or {name for name, _ in query} >= SIGNATURE):
        return attached[1]
    if of_discord and (proxied := _PROXIED_PATH.fullmatch(parts.path)):
        return read_address(f"{proxied[2]}://{proxied[3]}{unquote(proxied[1] or '')}")
    kept = urlencode([(name, value) for name, value in query if name not in SIGNATURE]) if of_discord else parts.query
    return f"{parts.scheme.lower()}://{host}{parts.path}{f'?{kept}' if kept else ''}"


def find_picture(pictures: Iterable[ShownPicture], image_id: str, url: str) -> ShownPicture | None:
    """Find the picture that was recorded with this id from this URL; None if it is not among these pictures."""
    address = read_address(url)
    return next((each for each in pictures if each.image_id == image_id or each.address == address), None)


def find_message_id(payload: DiscordPayload) -> int:
    """Return the id of a message. One without a readable id gets a number that is made from its content."""
    try:
        return int(payload["id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return int(hashlib.sha256(repr(payload).encode("utf-8", "surrogatepass")).hexdigest()[:14], 16)


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]


def _read_name(author: DiscordPayload, member: DiscordPayload | None) -> str:
    """Return the name that members of the guild see."""
    return str((member or {}).get("nick") or author.get("global_name") or author["username"])


def _read_reference(message: DiscordPayload) -> tuple[int, int] | None:
    reference = message.get("message_reference")
    return (int(reference["channel_id"]), int(reference["message_id"])) if reference else None


def describe_error(error: Exception) -> str:
    """Return in one line why a payload cannot be read."""
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return f"{type(error).__name__}: {error}"
