"""What Discord shows against what the log has, by REST alone: a hundred messages with each request, and none read twice.

Recording what Discord and the log do not have in common, by the very facts that the gateway would have recorded live.

What of a guild the log should have: the places that are watched, and each of them from which message on.

A place is recorded from the moment when it was first watched, which nobody noted; but its oldest known post, its mark and its
back-fills tell of it. What began later is recorded from its first message on.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import disnake

from contracts.envelope import Origin
from contracts.events import ImagePosted, RemovalRequested
from contracts.ports import Journal, Posts, State
from contracts.state import Backfill
from contracts.subjects import BACKFILLS
from infra.discord.archive.history import (
    NO_MESSAGES,
    PAGE,
    WITH_THREADS,
    Unreadable,
    archived_threads,
    may_read,
    page_after,
    place_of,
)
from infra.discord.archive.intake import WITH_MESSAGES, is_watched
from infra.discord.archive.marks import Forgetting, Marks
from infra.discord.archive.removal_facts import channel_gone, deletion, is_embedded, reduction
from infra.discord.rest.client import RestLogin
from infra.discord.rest.permissions import channel_of, guild_of
from infra.discord.services import Guilds
from infra.discord.translate import facts_of_message

Known = Mapping[int, Mapping[int, Collection[str]]]
"""The images that the log knows of, by channel and message."""

READING = "for what was posted in a guild"
Messages = Mapping[int, Collection[str]]
"""The images that the log knows of in one channel, by message."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What the gateway goes by, as it is stored. `filled` is where a finished back-fill of a place began, by guild and channel."""

    channels: frozenset[str]
    guilds: Guilds
    marks: Marks
    forgetting: Forgetting
    filled: Mapping[tuple[str, str], int]

    @property
    def known_guilds(self) -> set[str]:
        """The guilds that the gateway ever heard of something watched in."""
        return self.marks.guilds() | {guild for guild, _ in self.filled}

    def watches(self, channel: Any) -> bool:
        """Whether what is posted in a channel or thread is archived."""
        managers = frozenset(self.guilds.of(channel.guild.id).watched)
        return is_watched(channel, self.channels) or is_watched(channel, managers)

    def images(self, message: disnake.Message, bot_id: int) -> list[ImagePosted]:
        """The images of a message that are to be archived, as the gateway sees it."""
        if message.guild is None or message.author.id == bot_id:
            return []
        if self.forgetting.covers(message.guild.id, message.author.id, message.created_at):
            return []
        return facts_of_message(message)

    def begin(self, channel: Any, known: Known) -> int | None:
        """The message behind which everything of a watched place should be in the log; None for one that was never heard of."""
        begun = self._begin_of(channel, known)
        if begun is not None:
            return begun
        parent = channel.parent if isinstance(channel, disnake.Thread) else None
        before = self._first(channel.guild, known) if parent is None else self._begin_of(parent, known)
        return channel.id - 1 if before is not None and channel.id > before else None

    def _begin_of(self, channel: Any, known: Known) -> int | None:
        place, begins = place_of(channel), []
        if posts := known.get(channel.id):
            begins.append(min(posts) - 1)
        if (mark := self.marks.of(place)) is not None:
            begins.append(int(mark.message_id))
        if place in self.filled:
            begins.append(self.filled[place])
        return min(begins, default=None)

    def _first(self, guild: disnake.Guild, known: Known) -> int | None:
        """Where the guild's first channel begins."""
        begins = [self._begin_of(each, known) for each in (*guild.channels, *guild.threads)]
        return min((each for each in begins if each is not None), default=None)


async def read_watching(state: State, channels: frozenset[str], now: Callable[[], datetime]) -> Watching:
    """What is stored of it. Raises Unavailable."""
    guilds, marks, forgetting = Guilds(state), Marks(state, now), Forgetting(state)
    for stored in (guilds, marks, forgetting):
        await stored.load()
    filled: dict[tuple[str, str], int] = {}
    for key, value in (await state.under(BACKFILLS)).items():
        backfill, guild_id = Backfill.model_validate_json(value), key.split(".")[1]
        for source in backfill.sources[: backfill.done]:
            filled[guild_id, source] = min(int(backfill.since), filled.get((guild_id, source), int(backfill.since)))
    return Watching(channels, guilds, marks, forgetting, filled)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a stretch of a channel has and the log has not, and the other way round. Of messages the ids.

    `images` counts what it shows that is to be archived; `missed` are those that the log does not know, `gone` the ids of those
    that it knows and that are not shown; `edited` has the attachments that are left of a message. A channel that is `unreadable` or
    `vanished` has nothing to show, and a guild that the bot is not in has no channel either.
    """

    guild_id: str
    channel_id: str
    name: str = ""
    images: int = 0
    missed: Sequence[ImagePosted] = ()
    deleted: Sequence[int] = ()
    edited: Mapping[int, frozenset[str]] | None = None
    gone: Sequence[str] = ()
    unreadable: bool = False
    vanished: bool = False


async def differences(
    rest: RestLogin, bot: Any, watching: Watching, guild_id: str, known: Known, until: datetime, only: int | None = None
) -> AsyncIterator[Difference]:
    """A guild's differences, in one channel `only` if asked: one for every page that was read, and for what cannot be read.

    `bot` is the bot's account as Discord tells it; what was posted after `until` does not count. Raises Retry when Discord does
    not answer.
    """
    newest = disnake.utils.time_snowflake(until, high=True)
    try:
        async with rest.asking(READING) as client:
            guild = await guild_of(client, guild_id, bot)
    except (disnake.NotFound, disnake.Forbidden):
        yield Difference(guild_id, "", unreadable=True)
        return
    wanted = [only] if only is not None else [each.id for each in await _watched(rest, watching, guild, known)]
    for channel_id in dict.fromkeys([*wanted, *(known if only is None else ())]):
        try:
            async with rest.asking(READING) as client:
                channel = await channel_of(client, guild, str(channel_id))
        except disnake.NotFound:
            gone = [image for images in known.get(channel_id, {}).values() for image in images]
            yield Difference(guild_id, str(channel_id), gone=gone, vanished=True)
            continue
        except disnake.Forbidden:
            yield Difference(guild_id, str(channel_id), unreadable=True)
            continue
        async for difference in _of_channel(rest, watching, channel, known, newest, int(bot["id"])):
            yield difference


async def _watched(rest: RestLogin, watching: Watching, guild: disnake.Guild, known: Known) -> list[Any]:
    """The places that are watched, archived threads too where something may have been posted since their parent is watched."""
    places = [each for each in (*guild.channels, *guild.threads) if watching.watches(each)]
    for channel in [each for each in places if isinstance(each, WITH_THREADS) and may_read(each)]:
        begin = watching.begin(channel, known)
        if begin is not None:
            async with rest.asking("for the archived threads of a channel"):
                async for thread in archived_threads(channel, since=disnake.utils.snowflake_time(begin)):
                    guild._add_thread(thread)
                    places.append(thread)
    heard = (each for each in places if isinstance(each, WITH_MESSAGES))
    return [each for each in heard if watching.begin(each, known) is not None or not may_read(each)]


async def _of_channel(
    rest: RestLogin, watching: Watching, channel: Any, known: Known, until: int, bot_id: int
) -> AsyncIterator[Difference]:
    place, name = (str(channel.guild.id), str(channel.id)), f"#{channel.name}"
    begin = watching.begin(channel, known)
    if not may_read(channel):
        yield Difference(*place, name, unreadable=True)
        return
    if begin is None or isinstance(channel, NO_MESSAGES):
        return
    expected = watching.watches(channel)

    def images(message: disnake.Message) -> list[ImagePosted]:
        return watching.images(message, bot_id) if expected else []

    messages = known.get(channel.id, {})
    order, asked = sorted(messages), False
    try:
        while True:
            async with rest.asking("for a channel's history"):
                page = await page_after(channel, begin)
            end = min(page[-1].id, until) if len(page) == PAGE else until
            here = order[bisect_right(order, begin) : bisect_right(order, end)]
            difference = compared(
                place, [each for each in page if each.id <= until], {each: messages[each] for each in here}, images
            )
            if difference.deleted and not asked and not (asked := await _is_gone(rest, channel, difference.deleted[0])):
                raise Unreadable
            yield replace(difference, name=name)
            if end >= until:
                return
            begin = end
    except (Unreadable, disnake.Forbidden, disnake.NotFound):
        yield Difference(*place, name, unreadable=True)


async def _is_gone(rest: RestLogin, channel: Any, message_id: int) -> bool:
    """Ask for one message by itself: an empty history may mean that it may not be read."""
    try:
        async with rest.asking("for a message that its channel does not show"):
            await channel.fetch_message(message_id)
    except disnake.NotFound:
        return True
    return False


def compared(
    place: tuple[str, str],
    page: Sequence[disnake.Message],
    known: Messages,
    images: Callable[[disnake.Message], Sequence[ImagePosted]],
) -> Difference:
    """The difference between a page and what the log knows of the same stretch.

    Pictures of embeds come and go as Discord likes, so those are gone only with their message.
    """
    shown = {message.id: message for message in page}
    deleted = [message_id for message_id in known if message_id not in shown]
    gone = [image for message_id in deleted for image in known[message_id]]
    edited = {}
    for message in page:
        attached = frozenset(str(file.id) for file in message.attachments)
        dropped = [image for image in known.get(message.id, ()) if not is_embedded(image) and image not in attached]
        if dropped and not message.message_snapshots:
            edited[message.id] = attached
            gone += dropped
    posts = [post for message in page for post in images(message)]
    missed = [post for post in posts if post.image_id not in known.get(int(post.message_id), ())]
    return Difference(*place, "", len(posts), missed, deleted, edited, gone)


async def record(difference: Difference, journal: Journal, posts: Posts, now: Callable[[], datetime]) -> tuple[int, int]:
    """Record a difference; returns how many images are new, and of how many the removal is.

    A removal that was requested before is not counted: the log takes it once. Raises Unavailable.
    """
    new = gone = 0
    for post in difference.missed:
        new += await journal.record(post, Origin(f"message-{post.message_id}"))
    for removal, origin, images in await _removals(difference, posts, now()):
        gone += images * await journal.record(removal, origin)
    return new, gone


async def _removals(difference: Difference, posts: Posts, now: datetime) -> list[tuple[RemovalRequested, Origin, int]]:
    """What is to be requested, and of how many images."""
    if difference.vanished:
        channel = channel_gone(difference.guild_id, difference.channel_id, now)
        return [(channel, Origin(channel.removal_id), len(difference.gone))]
    found = []
    for message_id in difference.deleted:
        known = await posts.of_message(difference.guild_id, str(message_id))
        found += [(removal, Origin(f"message-{message_id}"), len(known)) for removal in deletion(known, now)]
    for message_id, attached in (difference.edited or {}).items():
        known = await posts.of_message(difference.guild_id, str(message_id))
        removals = reduction(known, attached, now)
        found += [(each, Origin(f"message-{message_id}"), len(known) - len(each.keep)) for each in removals]
    return found
