"""The check of the leak suite: what a message reveals, and who may know it.

It uses only the simulator's records and `rules`, no code of the product.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from PIL import Image

from contracts.ports import ImageEncoder
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Channel, Guild, Member, Message
from infra.sandbox.simulator.model import VOICE_CHANNELS
from infra.vision.distortions import encode_png, reencode, resize
from stages.canonical_image import decode_image, encode_thumbnail
from tests.support import rules

CHANNEL_LINK = re.compile(r"<#(\d+)>|/channels/\d+/(\d+)")
MAX_PIXELS = 10**9
ALERT_FILE = re.compile(r"alert-\d+\.webp")
"""The file names of the query pictures of a member's alerts, which only that member may see."""
EXPLANATION_FILE = "why.png"
"""The file name of the picture that explains a match. It also shows the query picture, so only the asker may see it."""


@dataclass(frozen=True, eq=False)
class PostedPicture:
    """A posted picture. Its author, file name and pixels appear in no other message, so that they identify it."""

    number: int
    piece: int
    message: Message
    channel: Channel
    author: Member
    position: int

    @property
    def guild(self) -> Guild:
        return self.channel.guild

    @property
    def image_id(self) -> str:
        return str(self.message.attachments[self.position].id)

    @property
    def there(self) -> bool:
        """Whether the picture is still on Discord."""
        return not self.message.gone and self.channel.id in {**self.guild.channels, **self.guild.threads}

    @property
    def marks(self) -> frozenset[str]:
        """The texts that reveal the picture."""
        moment = f"<t:{int(self.message.posted_at.timestamp())}:"
        return frozenset(
            {str(self.message.id), self.image_id, self.author.user.name, str(self.author.id), file_name(self.number), moment}
        )


@dataclass(frozen=True)
class ShownMessage:
    """A message as it was at one moment, and the members (`eyes`) who saw it. `explained`: it shows the explanation of a match.

    `alerts` are the query pictures of alerts that it shows.
    """

    text: str
    pictures: frozenset[str]
    eyes: tuple[Member, ...]
    place: Channel
    explained: bool = False
    alerts: frozenset[str] = frozenset()

    def reveals(self, post: PostedPicture) -> bool:
        return str(post.message.id) in self.text


def file_name(number: int) -> str:
    return f"sheet{number:05}x.png"


def author_name(number: int) -> str:
    return f"Painter{number:05}x"


@cache
def plain_piece(number: int) -> Image.Image:
    """Draw a piece. The pieces have nothing in common."""
    return draw_piece(number + 1)


@cache
def query_picture(number: int) -> bytes:
    """Draw the query picture for a piece. Those of pieces 0 and 1 also show the other one, smaller and distorted."""
    wanted = plain_piece(number)
    if number > 1:
        return encode_png(wanted)
    other = reencode(resize(plain_piece(1 - number), 0.75), 60)
    wall = Image.new("RGB", (wanted.width + other.width + 120, max(wanted.height, other.height) + 80), (110, 100, 90))
    wall.paste(wanted, (40, 40))
    wall.paste(other, (wanted.width + 80, 40))
    return encode_png(wall)


def name_piece(number: int) -> str:
    """Return the words that describe a piece."""
    return f"piece {number}"


class KnowsPieces:
    """An encoder that knows words for the pieces: those of `name_piece`. Everything else it leaves to another encoder."""

    def __init__(self, other: ImageEncoder) -> None:
        self.encode, self.close, self.encoder = other.encode, other.close, other.encoder

    async def encode_text(self, text: str) -> bytes:
        return await self.encode(encode_png(plain_piece(int(text.rpartition(" ")[2]))), urgent=True)


def picture(number: int, piece_number: int) -> bytes:
    """Draw a piece with a unique corner, which is far too small to make it another piece."""
    image = plain_piece(piece_number).copy()
    for place in range(2):
        shade = (number * 37 + 11) >> (8 * place) & 255
        image.paste((shade, 255 - shade, shade ^ 0x55), (12 * place, 0, 12 * place + 12, 12))
    return encode_png(image)


@cache
def picture_digest(number: int, piece_number: int) -> str:
    """Return the digest of a picture as answers show it."""
    image, _ = decode_image(picture(number, piece_number), MAX_PIXELS)
    return sha256_hex(encode_thumbnail(image))


def sha256_hex(data: bytes) -> str:
    return sha256(data).hexdigest()


def capture_message(message: Message, eyes: Iterable[Member]) -> ShownMessage:
    """Capture everything that a message shows, including the ids in links, mentions and buttons."""
    names = [(each.filename, each.title, each.description) for each in message.attachments]
    text = json.dumps([message.content, message.embeds, message.components, names], default=str)
    of_alerts = [each for each in message.attachments if ALERT_FILE.fullmatch(each.filename)]
    explained = [each for each in message.attachments if each.filename == EXPLANATION_FILE]
    others = [each for each in message.attachments if each not in (*of_alerts, *explained)]
    pictures, alerts = (frozenset(sha256_hex(each.data) for each in files) for files in (others, of_alerts))
    return ShownMessage(text, pictures, tuple(eyes), message.channel, bool(explained), alerts)


def to_rules_server(guild: Guild) -> rules.Server:
    return rules.Server(guild.id, guild.owner_id, {role.id: int(role.permissions) for role in guild.roles.values()})


def to_rules_spot(channel: Channel) -> rules.Spot:
    room = channel.parent or channel
    overrules = tuple(rules.Overrule(each.target.id, int(each.allow), int(each.deny)) for each in room.overwrites)
    home = rules.Room(room.id, overrules, room.nsfw, vocal=room.kind in VOICE_CHANNELS)
    return rules.Spot(channel.id, home, frozenset(channel.joined) if channel.private else None)


def to_rules_person(member: Member) -> rules.Person:
    return rules.Person(member.id, frozenset(role.id for role in member.roles))


def sees(channel: Channel, member: Member) -> bool:
    """Whether a member sees a channel now."""
    return member.id in channel.guild.members and rules.sees(
        to_rules_server(channel.guild), to_rules_spot(channel), to_rules_person(member)
    )


def may_read(channel: Channel, member: Member, adults: bool) -> bool:
    """Whether a member may read the posts of a channel. `adults`: the place where they read is age-restricted."""
    guild, spot = channel.guild, to_rules_spot(channel)
    return (
        member.id in guild.members
        and channel.id in {**guild.channels, **guild.threads}
        and (adults or not spot.room.restricted)
        and rules.reads(to_rules_server(guild), spot, to_rules_person(member))
    )


def find_leaks(shown: ShownMessage, posts: Iterable[PostedPicture], adults: bool, known: Collection[str] = ()) -> list[str]:
    """List what a message reveals to anyone who sees it and may not know it. `adults`: the search was made in an age-restricted
    place. `known` are the texts, ids of channels and times, that those who see it know already.

    What a post has in common with an allowed post (such as the second at which both were posted) reveals nothing.
    """
    found, posts = [], list(posts)
    posted = {picture_digest(post.number, post.piece) for post in posts}
    found += [f"a picture that nobody posted: {each}" for each in shown.pictures - posted]
    if shown.explained and len(shown.eyes) > 1:
        found.append(f"the query picture is shown to {[member.user.name for member in shown.eyes]}")
    if shown.alerts and len(shown.eyes) > 1:
        found.append(f"pictures of alerts are shown to {[member.user.name for member in shown.eyes]}")
    for member in shown.eyes:
        allowed = {post for post in posts if post.guild is member.guild and post.there and may_read(post.channel, member, adults)}
        innocent = {mark for post in allowed for mark in post.marks} | set(known)
        harmless = {picture_digest(post.number, post.piece) for post in allowed}
        for post in posts:
            if post not in allowed:
                marks = sorted(mark for mark in post.marks - innocent if mark in shown.text)
                if picture_digest(post.number, post.piece) in shown.pictures - harmless:
                    marks.append("its picture")
                if marks:
                    found.append(f"{member.user.name} learns of {file_name(post.number)} in #{post.channel.name}: {marks}")
        rooms = {str(each.id): each for each in (*member.guild.channels.values(), *member.guild.threads.values())}
        for named in {first or second for first, second in CHANNEL_LINK.findall(shown.text)}:
            if named not in known and (named not in rooms or not may_read(rooms[named], member, adults)):
                found.append(f"{member.user.name} learns of the channel {rooms[named].name if named in rooms else named}")
    return found
