"""Compares Discord with the log, over REST alone, and records what is missing.

Each request reads a hundred messages, and no message is read twice.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import disnake

from contracts.envelope import Origin
from contracts.events import ImagePosted, RemovalRequested
from contracts.ports import Journal, Posts, StateStore
from contracts.state import Backfill
from contracts.subjects import BACKFILLS
from infra.discord.archive.history import (
    MESSAGES_PER_PAGE,
    TYPES_WITH_THREADS,
    TYPES_WITHOUT_MESSAGES,
    UnreadableHistory,
    bot_may_read,
    channel_place,
    list_archived_threads,
    read_history_page,
)
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, is_listed
from infra.discord.archive.marks import ForgottenMembers, HighWaterMarks
from infra.discord.archive.changes import build_channel_removal, build_deletion_removals, build_edit_removals, is_embed_image
from infra.discord.rest.client import RestClient
from infra.discord.rest.permissions import fetch_channel, fetch_guild
from infra.discord.services import GuildSettingsStore
from infra.discord.translate import facts_from_message

ImageIdsByChannel = Mapping[int, Mapping[int, Collection[str]]]
"""The images that the log knows, by channel and message."""

READ_PURPOSE = "for what was posted in a guild"
ImageIdsByMessage = Mapping[int, Collection[str]]
"""The images that the log knows in one channel, by message."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the gateway stored about watched channels.

    From which message a channel is recorded is stored nowhere. It is worked out from its oldest known post, its mark and its
    finished back-fills; a channel that was created later is recorded from its first message. `filled` says where a finished
    back-fill of a channel began, by guild and channel.
    """

    channels: frozenset[str]
    guilds: GuildSettingsStore
    marks: HighWaterMarks
    forgotten_members: ForgottenMembers
    filled: Mapping[tuple[str, str], int]

    @property
    def known_guilds(self) -> set[str]:
        """The guilds in which the gateway ever watched a channel."""
        return self.marks.guilds() | {guild for guild, _ in self.filled}

    def is_watched(self, channel: Any) -> bool:
        """Tell whether posts in a channel or thread are archived."""
        managers = frozenset(self.guilds.get(channel.guild.id).watched)
        return is_listed(channel, self.channels) or is_listed(channel, managers)

    def list_images(self, message: disnake.Message, bot_id: int) -> list[ImagePosted]:
        """Return the images of a message that must be archived, by the gateway's rules."""
        if message.guild is None or message.author.id == bot_id:
            return []
        if self.forgotten_members.covers(message.guild.id, message.author.id, message.created_at):
            return []
        return facts_from_message(message)

    def find_start(self, channel: Any, known: ImageIdsByChannel) -> int | None:
        """Return the message after which everything in a watched channel must be in the log; None for a channel never seen."""
        trace = self._oldest_trace(channel, known)
        if trace is not None:
            return trace
        parent = channel.parent if isinstance(channel, disnake.Thread) else None
        before = self._guild_start(channel.guild, known) if parent is None else self._oldest_trace(parent, known)
        return channel.id - 1 if before is not None and channel.id > before else None

    def _oldest_trace(self, channel: Any, known: ImageIdsByChannel) -> int | None:
        place, begins = channel_place(channel), []
        if posts := known.get(channel.id):
            begins.append(min(posts) - 1)
        if (mark := self.marks.get(place)) is not None:
            begins.append(int(mark.message_id))
        if place in self.filled:
            begins.append(self.filled[place])
        return min(begins, default=None)

    def _guild_start(self, guild: disnake.Guild, known: ImageIdsByChannel) -> int | None:
        """Return where the guild's first recorded channel begins."""
        begins = [self._oldest_trace(each, known) for each in (*guild.channels, *guild.threads)]
        return min((each for each in begins if each is not None), default=None)


async def read_watch_state(state: StateStore, channels: frozenset[str], now: Callable[[], datetime]) -> WatchState:
    """Read what is stored. Raises Unavailable."""
    guilds, marks, forgotten_members = GuildSettingsStore(state), HighWaterMarks(state, now), ForgottenMembers(state)
    for stored in (guilds, marks, forgotten_members):
        await stored.load()
    filled: dict[tuple[str, str], int] = {}
    for key, value in (await state.list_under(BACKFILLS)).items():
        backfill, guild_id = Backfill.model_validate_json(value), key.split(".")[1]
        for source in backfill.sources[: backfill.done]:
            filled[guild_id, source] = min(int(backfill.since), filled.get((guild_id, source), int(backfill.since)))
    return WatchState(channels, guilds, marks, forgotten_members, filled)


@dataclass(frozen=True, slots=True)
class ChannelDifference:
    """What Discord and the log do not have in common in a part of a channel.

    `images` counts what Discord shows that must be archived. `missed` are those that the log lacks. `deleted` are ids of messages
    that are gone, `gone` the ids of their images and of dropped attachments. `edited` has the remaining attachments by message id.
    An `unreadable` or `vanished` channel shows nothing, and for a guild that the bot is not in the channel id is empty.
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


async def compare_guild(
    rest: RestClient,
    bot: Any,
    watch: WatchState,
    guild_id: str,
    known: ImageIdsByChannel,
    until: datetime,
    only: int | None = None,
) -> AsyncIterator[ChannelDifference]:
    """Yield a guild's differences, or those of one channel `only`: one for every page, and one for whatever cannot be read.

    `bot` is the bot's account as Discord returns it. Messages after `until` do not count. Raises Retry if Discord does not answer.
    """
    newest = disnake.utils.time_snowflake(until, high=True)
    try:
        async with rest.client_for(READ_PURPOSE) as client:
            guild = await fetch_guild(client, guild_id, bot)
    except (disnake.NotFound, disnake.Forbidden):
        yield ChannelDifference(guild_id, "", unreadable=True)
        return
    wanted = [only] if only is not None else [each.id for each in await _list_watched(rest, watch, guild, known)]
    for channel_id in dict.fromkeys([*wanted, *(known if only is None else ())]):
        try:
            async with rest.client_for(READ_PURPOSE) as client:
                channel = await fetch_channel(client, guild, str(channel_id))
        except disnake.NotFound:
            gone = [image for images in known.get(channel_id, {}).values() for image in images]
            yield ChannelDifference(guild_id, str(channel_id), gone=gone, vanished=True)
            continue
        except disnake.Forbidden:
            yield ChannelDifference(guild_id, str(channel_id), unreadable=True)
            continue
        async for difference in _compare_channel(rest, watch, channel, known, newest, int(bot["id"])):
            yield difference


async def _list_watched(rest: RestClient, watch: WatchState, guild: disnake.Guild, known: ImageIdsByChannel) -> list[Any]:
    """Return the watched channels, and archived threads that may hold posts from after their parent was first watched."""
    places = [each for each in (*guild.channels, *guild.threads) if watch.is_watched(each)]
    for channel in [each for each in places if isinstance(each, TYPES_WITH_THREADS) and bot_may_read(each)]:
        begin = watch.find_start(channel, known)
        if begin is not None:
            async with rest.client_for("for the archived threads of a channel"):
                async for thread in list_archived_threads(channel, since=disnake.utils.snowflake_time(begin)):
                    guild._add_thread(thread)
                    places.append(thread)
    with_messages = (each for each in places if isinstance(each, TYPES_WITH_MESSAGES))
    return [each for each in with_messages if watch.find_start(each, known) is not None or not bot_may_read(each)]


async def _compare_channel(
    rest: RestClient, watch: WatchState, channel: Any, known: ImageIdsByChannel, until: int, bot_id: int
) -> AsyncIterator[ChannelDifference]:
    place, name = (str(channel.guild.id), str(channel.id)), f"#{channel.name}"
    begin = watch.find_start(channel, known)
    if not bot_may_read(channel):
        yield ChannelDifference(*place, name, unreadable=True)
        return
    if begin is None or isinstance(channel, TYPES_WITHOUT_MESSAGES):
        return
    is_expected = watch.is_watched(channel)

    def images(message: disnake.Message) -> list[ImagePosted]:
        return watch.list_images(message, bot_id) if is_expected else []

    messages = known.get(channel.id, {})
    order, is_proven_readable = sorted(messages), False
    try:
        while True:
            async with rest.client_for("for a channel's history"):
                page = await read_history_page(channel, begin)
            end = min(page[-1].id, until) if len(page) == MESSAGES_PER_PAGE else until
            here = order[bisect_right(order, begin) : bisect_right(order, end)]
            difference = compare_page(
                place, [each for each in page if each.id <= until], {each: messages[each] for each in here}, images
            )
            if (
                difference.deleted
                and not is_proven_readable
                and not (is_proven_readable := await _is_gone(rest, channel, difference.deleted[0]))
            ):
                raise UnreadableHistory
            yield replace(difference, name=name)
            if end >= until:
                return
            begin = end
    except (UnreadableHistory, disnake.Forbidden, disnake.NotFound):
        yield ChannelDifference(*place, name, unreadable=True)


async def _is_gone(rest: RestClient, channel: Any, message_id: int) -> bool:
    """Tell whether a message is gone by fetching it: an empty history may also mean that the bot may not read it."""
    try:
        async with rest.client_for("for a message that its channel does not show"):
            await channel.fetch_message(message_id)
    except disnake.NotFound:
        return True
    return False


def compare_page(
    place: tuple[str, str],
    page: Sequence[disnake.Message],
    known: ImageIdsByMessage,
    images: Callable[[disnake.Message], Sequence[ImagePosted]],
) -> ChannelDifference:
    """Compare a page with what the log knows of the same part of the channel.

    Discord removes and restores pictures of embeds as it likes, so they are gone only together with their message.
    """
    shown = {message.id: message for message in page}
    deleted = [message_id for message_id in known if message_id not in shown]
    gone = [image for message_id in deleted for image in known[message_id]]
    edited = {}
    for message in page:
        attached = frozenset(str(file.id) for file in message.attachments)
        dropped = [image for image in known.get(message.id, ()) if not is_embed_image(image) and image not in attached]
        if dropped and not message.message_snapshots:
            edited[message.id] = attached
            gone += dropped
    posts = [post for message in page for post in images(message)]
    missed = [post for post in posts if post.image_id not in known.get(int(post.message_id), ())]
    return ChannelDifference(*place, "", len(posts), missed, deleted, edited, gone)


async def record_difference(
    difference: ChannelDifference, journal: Journal, posts: Posts, now: Callable[[], datetime]
) -> tuple[int, int]:
    """Record a difference. Return how many images are new, and how many are removed.

    The facts are the same as the gateway would have recorded live. A removal that was requested before is not counted, since the
    log keeps it once. Raises Unavailable.
    """
    new = gone = 0
    for post in difference.missed:
        new += await journal.record(post, Origin(f"message-{post.message_id}"))
    for removal, origin, images in await _removals(difference, posts, now()):
        gone += images * await journal.record(removal, origin)
    return new, gone


async def _removals(difference: ChannelDifference, posts: Posts, now: datetime) -> list[tuple[RemovalRequested, Origin, int]]:
    """Return the removals to request, each with its origin and the number of images."""
    if difference.vanished:
        channel = build_channel_removal(difference.guild_id, difference.channel_id, now)
        return [(channel, Origin(channel.removal_id), len(difference.gone))]
    found = []
    for message_id in difference.deleted:
        known = await posts.of_message(difference.guild_id, str(message_id))
        found += [(removal, Origin(f"message-{message_id}"), len(known)) for removal in build_deletion_removals(known, now)]
    for message_id, attached in (difference.edited or {}).items():
        known = await posts.of_message(difference.guild_id, str(message_id))
        removals = build_edit_removals(known, attached, now)
        found += [(each, Origin(f"message-{message_id}"), len(known) - len(each.keep)) for each in removals]
    return found
