"""Catch-up: records what was posted and removes what was deleted while the bot was away.

It runs in the background, so live posts and commands do not wait. It also compares the last days with the log, to find deletions
and edits, which Discord does not report afterwards.
"""

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import disnake
import structlog
from disnake.ext import commands

from contracts.errors import Unavailable
from infra.discord.archive.history import (
    TYPES_WITH_THREADS,
    TYPES_WITHOUT_MESSAGES,
    UnreadableHistory,
    bot_may_read,
    channel_place,
    find_last_id,
    list_archived_threads,
    newest_message_id,
    read_history_pages,
)
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, Intake, is_watched_channel
from infra.discord.archive.marks import ChannelPlace, read_filled
from infra.discord.cogs.listener import TRANSIENT_ERRORS, find_channel, request_channel_removal, request_message_removals
from infra.discord.pictures import DiscordPayload, find_message_id
from infra.discord.services import Services

log = structlog.get_logger()

RESCAN_WINDOW = timedelta(hours=72)

CONCURRENT_CHANNELS = 4
"""Channels that are read at the same time."""
RETRY_INTERVAL = timedelta(minutes=1)
CLOCK_SKEW = timedelta(minutes=5)
"""By how much Discord's clock and ours may differ."""


async def rescan_guild(bot: commands.InteractionBot, services: Services, guild: disnake.Guild) -> None:
    """Bring the log to what the channels show of the last days now. Raises Unavailable.

    What was edited or deleted while the bot was away is recorded, hidden or removed. A channel that cannot be read ends no other
    channel.
    """
    since = services.ports.now() - RESCAN_WINDOW
    known: dict[int, set[int]] = {}
    async for post in services.ports.posts.of_guild(str(guild.id), since=since):
        if post.posted_at >= since:
            known.setdefault(int(post.channel_id), set()).add(int(post.message_id))
    guild_marks = services.marks.of_guild(str(guild.id))
    marked = {int(channel_id) for channel_id, mark in guild_marks.items() if mark.heard_at >= since}
    filled = await read_filled(services.ports.state, str(guild.id))
    for channel_id in sorted(known.keys() | marked):
        try:
            channel = guild.get_channel_or_thread(channel_id) or await _fetch_archived(bot, services, guild, channel_id)
            if channel is not None:
                await _rescan_channel(bot, services, channel, since, known.get(channel_id, set()), filled)
        except Unavailable:
            raise
        except TRANSIENT_ERRORS as error:
            log.warning("channel_rescan_failed", channel_id=channel_id, error=str(error))
        except Exception:
            log.exception("channel_rescan_failed", channel_id=channel_id)


async def _fetch_archived(bot: commands.InteractionBot, services: Services, guild: disnake.Guild, channel_id: int) -> Any:
    """Fetch an archived thread; None if the channel is gone, whose images then go, too, or if the bot may not see it."""
    try:
        return await bot.fetch_channel(channel_id)
    except disnake.NotFound:
        log.info("channel_deletion_found", channel_id=channel_id)
        request_channel_removal(services, guild.id, channel_id)
    except (disnake.Forbidden, disnake.InvalidData):
        log.warning("channel_rescan_refused", channel_id=channel_id)
    return None


async def _rescan_channel(
    bot: commands.InteractionBot,
    services: Services,
    channel: Any,
    since: datetime,
    known: Collection[int],
    filled: Mapping[ChannelPlace, int],
) -> None:
    """Compare the messages of a channel since a moment with the log, and find those of the `known` ones that are gone.

    What was posted before the channel was watched, and was not back-filled, stays out of the archive.
    """
    mark, place = services.marks.get(channel_place(channel)), channel_place(channel)
    begins = [int(mark.since)] if mark is not None and mark.since is not None else []
    begins += [min(known) - 1] if known else []
    begins += [filled[place]] if place in filled else []
    begin = min(begins, default=None)
    if isinstance(channel, TYPES_WITHOUT_MESSAGES) or not bot_may_read(channel):
        return
    intake, shown, read_at = Intake(bot, services), set[int](), services.recent_changes.clock()
    try:
        async for page in read_history_pages(channel, disnake.utils.time_snowflake(since) - 1):
            for payload in page:
                message_id = find_message_id(payload)
                shown.add(message_id)
                is_older = begin is None or message_id <= begin
                intake.update(channel, payload, read_at, is_known=message_id in known, known_only=is_older)
            await services.recorder.wait_recorded()
            read_at = services.recent_changes.clock()
    except UnreadableHistory:
        return
    missing = [message_id for message_id in sorted(known) if message_id not in shown]
    if missing and await _is_gone(channel, missing[0]):
        log.info("message_deletions_found", channel_id=channel.id, count=len(missing))
        request_message_removals(services, channel.guild.id, missing)


async def _is_gone(channel: Any, message_id: int) -> bool:
    """Tell whether a message is gone by fetching it: an empty history may also mean that the bot may not read it."""
    try:
        await channel._state.http.get_message(channel.id, message_id)
    except disnake.NotFound:
        return True
    except disnake.Forbidden:
        return False
    return False


class CatchUp(commands.Cog):
    """Reads every watched channel from its mark, once in every session, and every channel that becomes watched later."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._intake = Intake(bot, services)
        self._slots = asyncio.Semaphore(CONCURRENT_CHANNELS)
        self._reading: dict[ChannelPlace, asyncio.Task[None]] = {}
        self._guilds: dict[int, asyncio.Task[None]] = {}
        self._tried: dict[ChannelPlace, datetime] = {}
        self._newest: dict[int, int] = {}

    def cog_unload(self) -> None:
        """Stop because the client closes."""
        self._cancel()

    @commands.Cog.listener()
    async def on_connect(self) -> None:
        """Begin a session. Discord does not report what happened before it, so no mark moves until its channel is read."""
        self._cancel()
        self._tried.clear()
        self._newest.clear()
        self._services.marks.set_all_incomplete()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Read what was missed in every guild."""
        for guild in self._bot.guilds:
            self._catch_up_guild(guild)

    @commands.Cog.listener()
    async def on_guild_available(self, guild: disnake.Guild) -> None:
        """Read what was missed in a guild that is back after an outage at Discord."""
        self._catch_up_guild(guild)

    @commands.Cog.listener("on_guild_channel_create")
    @commands.Cog.listener("on_thread_create")
    async def on_new_place(self, channel: Any) -> None:
        """Begin a new channel, thread or forum post, which has no history."""
        if isinstance(channel, (*TYPES_WITH_MESSAGES, *TYPES_WITH_THREADS)) and is_watched_channel(self._services, channel):
            self._begin_at(channel, channel.id - 1)

    @commands.Cog.listener()
    async def on_message_payload(self, payload: DiscordPayload) -> None:
        """Catch up a channel that is not complete: it could not be read before, or it is newly watched or newly seen."""
        channel = find_channel(self._bot, payload)
        if channel is not None and is_watched_channel(self._services, channel):
            self.request(channel)

    @commands.Cog.listener()
    async def on_history_readable(self, channel: Any) -> None:
        """Handle our own event: the bot may now read a channel that it could not read before."""
        self.request(channel)

    @commands.Cog.listener()
    async def on_watch_change(self, guild: disnake.Guild) -> None:
        """Handle our own event: a newly watched channel begins now, and one that is no longer watched loses its mark."""
        for channel_id in self._services.marks.of_guild(str(guild.id)):
            channel = guild.get_channel_or_thread(int(channel_id))
            if channel is not None and not is_watched_channel(self._services, channel):
                self._services.marks.drop(channel_place(channel))
        for channel in self._list_watched(guild):
            if self._services.marks.get(channel_place(channel)) is None:
                self._begin_at(channel, newest_message_id(channel))
            else:
                self.request(channel)

    def request(self, channel: Any) -> asyncio.Task[None] | None:
        """Start to catch up a watched channel, unless it is complete or was tried a moment ago.

        A channel without a mark begins now.
        """
        place, now = channel_place(channel), self._services.ports.now()
        if self._services.marks.is_complete(place) or place in self._reading:
            return self._reading.get(place)
        if not bot_may_read(channel):
            self._report_unreadable(place)
        elif now - self._tried.get(place, now - RETRY_INTERVAL) >= RETRY_INTERVAL:
            self._tried[place] = now
            task = asyncio.create_task(self._catch_up(channel, place), name=f"catch-up-{channel.id}")
            self._reading[place] = task
            task.add_done_callback(lambda done: self._reading.pop(place) if self._reading.get(place) is done else None)
        return self._reading.get(place)

    def _catch_up_guild(self, guild: disnake.Guild) -> None:
        if not guild.unavailable and guild.id not in self._guilds:
            self._newest.setdefault(guild.id, self._services.marks.newest(str(guild.id)))
            task = asyncio.create_task(self._catch_up_all(guild), name=f"catch-up-guild-{guild.id}")
            self._guilds[guild.id] = task
            task.add_done_callback(lambda done: self._guilds.pop(guild.id) if self._guilds.get(guild.id) is done else None)

    async def _catch_up_all(self, guild: disnake.Guild) -> None:
        reading = [self.request(channel) for channel in self._list_watched(guild)]
        await asyncio.gather(*(task for task in reading if task is not None), return_exceptions=True)  # each logs its own error
        await self._run_logged(rescan_guild(self._bot, self._services, guild), guild.id)

    def _list_watched(self, guild: disnake.Guild) -> list[Any]:
        places = [*guild.channels, *guild.threads]
        return [
            each
            for each in places
            if isinstance(each, (*TYPES_WITH_MESSAGES, *TYPES_WITH_THREADS)) and is_watched_channel(self._services, each)
        ]

    async def _catch_up(self, channel: Any, place: ChannelPlace) -> None:
        async with self._slots:
            self._services.marks.start_over(place)
            try:
                await self._run_logged(self._read(channel, place), channel.guild.id, channel.id)
            except UnreadableHistory:
                self._report_unreadable(place)

    def _report_unreadable(self, place: ChannelPlace) -> None:
        if place not in self._services.marks.unreadable:
            self._services.marks.unreadable.add(place)
            log.warning("history_unreadable", guild_id=place[0], channel_id=place[1], hint="Grant the bot Read Message History.")

    async def _read(self, channel: Any, place: ChannelPlace) -> None:
        marks, recorder = self._services.marks, self._services.recorder
        mark = marks.get(place)
        if not bot_may_read(channel):
            raise UnreadableHistory
        after = self._start_after(channel)
        begin = newest_message_id(channel) if after is None else after
        recorder.add_callback(partial(marks.advance_history, place, begin))
        if after is not None and not isinstance(channel, TYPES_WITHOUT_MESSAGES):
            await self._read_after(channel, after)
        if mark is not None and isinstance(channel, TYPES_WITH_THREADS):
            async for thread in list_archived_threads(channel, since=mark.heard_at - CLOCK_SKEW):
                await self._read_archived(thread)
        recorder.add_callback(partial(marks.set_complete, place))
        await recorder.wait_recorded()

    async def _read_after(self, channel: Any, after: int) -> None:
        if channel.last_message_id is not None and channel.last_message_id <= after:
            return
        clock, place = self._services.recent_changes.clock, channel_place(channel)
        read_at = clock()
        async for page in read_history_pages(channel, after):
            count = self._intake.enqueue(channel, page, read_at)
            self._services.recorder.add_callback(partial(self._services.marks.advance_history, place, find_last_id(page)))
            await self._services.recorder.wait_recorded()
            read_at = clock()
            log.info("history_page_recorded", channel_id=channel.id, message_count=len(page), image_count=count)

    async def _read_archived(self, thread: disnake.Thread) -> None:
        """Read a thread that may have been opened and archived while the bot was away."""
        after = self._start_after(thread)
        if after is not None:
            place = channel_place(thread)
            self._services.marks.start_over(place)
            self._services.recorder.add_callback(partial(self._services.marks.advance_history, place, after))
            await self._read_after(thread, after)

    def _start_after(self, channel: Any) -> int | None:
        """Return the message id to start after: the channel's mark.

        Without a mark it is the start of a channel that was created while the bot was away; None means to begin now.
        """
        mark, newest = self._services.marks.get(channel_place(channel)), self._newest.get(channel.guild.id, 0)
        if mark is not None:
            return int(mark.message_id)
        return channel.id - 1 if newest and channel.id > newest else None

    def _begin_at(self, channel: Any, message_id: int) -> None:
        place, marks = channel_place(channel), self._services.marks
        self._services.recorder.add_callback(partial(marks.advance_history, place, message_id))
        self._services.recorder.add_callback(partial(marks.set_complete, place))

    async def _run_logged(self, work: Coroutine[Any, Any, None], guild_id: int, channel_id: int | None = None) -> None:
        """Log errors. The channel is read again at its next message, or in the next session."""
        try:
            await work
        except UnreadableHistory:
            raise
        except TRANSIENT_ERRORS as error:
            log.warning("catch_up_failed", guild_id=guild_id, channel_id=channel_id, error=str(error))
        except Exception:
            log.exception("catch_up_failed", guild_id=guild_id, channel_id=channel_id)

    def _cancel(self) -> None:
        for task in (*self._guilds.values(), *self._reading.values()):
            task.cancel()
        self._guilds.clear()
        self._reading.clear()
