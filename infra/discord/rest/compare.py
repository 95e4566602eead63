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
from contracts.events import ImageHidden, ImagePosted, ImageShown, RemovalRequested
from contracts.ports import Journal, Posts, StateStore, UnreadableMessages
from infra.discord.archive.changes import build_channel_removal, build_deletion_removal, is_own_attachment, list_changes
from infra.discord.archive.history import (
    MESSAGES_PER_PAGE,
    TYPES_WITH_THREADS,
    TYPES_WITHOUT_MESSAGES,
    UnreadableHistory,
    bot_may_read,
    channel_place,
    find_last_id,
    list_archived_threads,
    read_history_page,
)
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, build_origin, is_listed, keep_unreadable
from infra.discord.archive.marks import ForgottenMembers, HighWaterMarks, read_filled
from infra.discord.pictures import DiscordPayload, PostedMessage, UnreadableMessage, find_message_id, read_message
from infra.discord.rest.client import RestClient
from infra.discord.rest.permissions import fetch_channel, fetch_guild
from infra.discord.services import GuildSettingsStore
from infra.discord.translate import posts_from_message

ImageIdsByChannel = Mapping[int, Mapping[int, Collection[str]]]
"""The images that the log knows, by channel and message."""

READ_PURPOSE = "for what was posted in a guild"
ImageIdsByMessage = Mapping[int, Collection[str]]
"""The images that the log knows in one channel, by message."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the gateway stored about watched channels.

    From which message a channel is recorded is worked out from its oldest known post, its mark and its finished back-fills; a
    channel that was created later is recorded from its first message. `filled` says where a finished back-fill of a channel began,
    by guild and channel.
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

    def is_left_out(self, guild: disnake.Guild, message: PostedMessage, bot_id: str) -> bool:
        """Tell whether a message is the bot's own, or of a member who asked to be forgotten."""
        posted_at = disnake.utils.snowflake_time(message.id)
        return message.author.id == bot_id or self.forgotten_members.covers(guild.id, message.author.id, posted_at)

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
            begins.append(int(mark.since or mark.message_id))
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
    return WatchState(channels, guilds, marks, forgotten_members, await read_filled(state))


@dataclass(frozen=True, slots=True)
class UnreadMessage:
    """A message that cannot be read: its channel, its payload, and why."""

    channel: Any
    payload: DiscordPayload
    error: UnreadableMessage


@dataclass(frozen=True, slots=True)
class ChannelDifference:
    """What Discord and the log do not have in common in a part of a channel.

    `images` counts what Discord shows that must be archived. `missed` are those that the log lacks. `deleted` are ids of messages
    that are gone, `gone` the ids of their images and of those that their message shows no more. `changes` are the facts that bring
    the log to what edited messages show now. `unread` are messages that cannot be read. An `unreadable` or `vanished` channel shows
    nothing, and for a guild that the bot is not in the channel id is empty.
    """

    guild_id: str
    channel_id: str
    name: str = ""
    images: int = 0
    missed: Sequence[ImagePosted] = ()
    deleted: Sequence[int] = ()
    changes: Sequence[ImageShown | ImageHidden | RemovalRequested] = ()
    gone: Sequence[str] = ()
    unread: Sequence[UnreadMessage] = ()
    unreadable: bool = False
    vanished: bool = False

    @property
    def shown_again(self) -> list[str]:
        """The ids of the images that Discord shows, and the log hides or marks wrongly as a spoiler."""
        return [change.image_id for change in self.changes if isinstance(change, ImageShown)]


async def compare_guild(
    rest: RestClient,
    bot: Any,
    watch: WatchState,
    posts: Posts,
    guild_id: str,
    known: ImageIdsByChannel,
    until: datetime,
    only: int | None = None,
) -> AsyncIterator[ChannelDifference]:
    """Yield a guild's differences, or those of one channel `only`: one for every page, and one for whatever cannot be read.

    `bot` is the bot's account as Discord returns it. Messages after `until` do not count. `posts` are asked about messages that the
    log may know in another form. Raises Retry if Discord does not answer, and Unavailable.
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
        async for difference in _compare_channel(rest, watch, posts, channel, known, newest, str(bot["id"])):
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
    rest: RestClient, watch: WatchState, posts: Posts, channel: Any, known: ImageIdsByChannel, until: int, bot_id: str
) -> AsyncIterator[ChannelDifference]:
    place, name = (str(channel.guild.id), str(channel.id)), f"#{channel.name}"
    begin = watch.find_start(channel, known)
    if not bot_may_read(channel):
        yield ChannelDifference(*place, name, unreadable=True)
        return
    if begin is None or isinstance(channel, TYPES_WITHOUT_MESSAGES):
        return
    messages = known.get(channel.id, {})
    order, is_proven_readable = sorted(messages), False
    try:
        while True:
            async with rest.client_for("for a channel's history"):
                page = await read_history_page(channel, begin)
            last = find_last_id(page)
            end = min(last, until) if len(page) == MESSAGES_PER_PAGE and last > begin else until
            here = {each: messages[each] for each in order[bisect_right(order, begin) : bisect_right(order, end)]}
            shown = [each for each in page if find_message_id(each) <= until]
            difference = await _compare_page(watch, posts, channel, shown, here, until, bot_id)
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


async def _compare_page(
    watch: WatchState, posts: Posts, channel: Any, page: Sequence[DiscordPayload], known: ImageIdsByMessage, until: int, bot_id: str
) -> ChannelDifference:
    """Compare a page with what the log knows of the same part of the channel.

    The log is asked about a message only if its pictures differ from the known ones, or may be known in another form.
    """
    is_expected, now = watch.is_watched(channel), disnake.utils.snowflake_time(until)
    deleted = [message_id for message_id in known if message_id not in {find_message_id(payload) for payload in page}]
    images, missed, unread = 0, list[ImagePosted](), list[UnreadMessage]()
    changes = list[ImageShown | ImageHidden | RemovalRequested]()
    for payload in page:
        try:
            message = read_message(payload)
            shown = posts_from_message(message, channel)
        except UnreadableMessage as error:
            unread += [UnreadMessage(channel, payload, error)] if is_expected else []
            continue
        if watch.is_left_out(channel.guild, message, bot_id):
            continue
        images += len(shown) if is_expected else 0
        ids = {post.image_id for post in shown}
        if ids == set(known.get(message.id, ())) and all(map(is_own_attachment, ids)):
            continue
        for fact in list_changes(message, shown, await posts.read_message(str(channel.guild.id), str(message.id)), now):
            if not isinstance(fact, ImagePosted):
                changes.append(fact)
            elif is_expected:
                missed.append(fact)
    gone = [image for message_id in deleted for image in known[message_id]]
    gone += [_image_of(change) for change in changes if not isinstance(change, ImageShown)]
    return ChannelDifference(str(channel.guild.id), str(channel.id), "", images, missed, deleted, changes, gone, unread)


def _image_of(change: ImageHidden | RemovalRequested) -> str:
    return change.image_id if isinstance(change, ImageHidden) else change.target


async def record_difference(
    difference: ChannelDifference,
    journal: Journal,
    posts: Posts,
    unreadable: UnreadableMessages,
    now: Callable[[], datetime],
) -> tuple[int, int]:
    """Record a difference. Return how many images are new or shown again, and how many are hidden or removed.

    The facts are the same as the gateway would have recorded live. A removal that was requested before is not counted, since the
    log keeps it once. A message that cannot be read is kept as a dead letter. Raises Unavailable.
    """
    new = gone = 0
    for post in difference.missed:
        new += await journal.record(post, build_origin(int(post.message_id)))
    for change in difference.changes:
        recorded = await journal.record(change, build_origin(int(change.message_id or 0)))
        new, gone = (new + recorded, gone) if isinstance(change, ImageShown) else (new, gone + recorded)
    for removal, origin, images in await _removals(difference, posts, now()):
        gone += images * await journal.record(removal, origin)
    for unread in difference.unread:
        await keep_unreadable(unreadable, unread.channel, unread.payload, unread.error)
    return new, gone


async def _removals(difference: ChannelDifference, posts: Posts, now: datetime) -> list[tuple[RemovalRequested, Origin, int]]:
    """Return the removals to request for what was deleted, each with its origin and the number of images."""
    if difference.vanished:
        channel = build_channel_removal(difference.guild_id, difference.channel_id, now)
        return [(channel, Origin(channel.removal_id), len(difference.gone))]
    found = []
    for message_id in difference.deleted:
        known = await posts.of_message(difference.guild_id, str(message_id))
        if known:
            removal = build_deletion_removal(difference.guild_id, str(message_id), now)
            found.append((removal, build_origin(message_id), len(known)))
    return found
