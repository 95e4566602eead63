"""Listeners for posts and deletions, and for guilds and channels that the bot lost or regained.

Nothing is removed here: each listener only records facts, such as the request of a removal.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
import disnake
import structlog
from disnake.ext import commands

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import ImageHidden, RemovalRequested
from contracts.subjects import BACKFILLS
from infra.discord.archive.changes import (
    build_channel_removal,
    build_deletion_removal,
    build_guild_removal,
    build_image_removal,
)
from infra.discord.archive.history import bot_may_read, channel_place
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, Intake, build_origin, is_watched_channel
from infra.discord.pictures import DiscordPayload, UnreadableMessage, find_message_id, read_message
from infra.discord.services import Services
from infra.tasks import raise_if_cancelled

log = structlog.get_logger()

KEPT_HIDDEN = timedelta(days=7)
"""How long an image that its message does not show is kept, since Discord clears previews and brings them back."""
HIDDEN_CHECK_INTERVAL_S = 3600.0

TRANSIENT_ERRORS = (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError, Unavailable)


class DeletionListener(commands.Cog):
    """Requests removals for deletions, also in channels that are not watched: a channel may have been watched before."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_raw_message_delete(self, event: disnake.RawMessageDeleteEvent) -> None:
        """One message was deleted."""
        if event.guild_id is not None:
            request_message_removals(self._services, event.guild_id, [event.message_id])

    @commands.Cog.listener()
    async def on_raw_bulk_message_delete(self, event: disnake.RawBulkMessageDeleteEvent) -> None:
        """Messages were deleted because a moderator cleared a channel or a member was banned."""
        if event.guild_id is not None:
            request_message_removals(self._services, event.guild_id, sorted(event.message_ids))

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: disnake.abc.GuildChannel) -> None:
        """A channel was deleted with its threads.

        Its private threads are removed one by one, since only public threads belong to the channel's removal.
        """
        request_channel_removal(self._services, channel.guild.id, channel.id)
        for thread in list(channel.guild.threads):
            if thread.parent_id == channel.id:
                request_channel_removal(self._services, channel.guild.id, thread.id)

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, event: disnake.RawThreadDeleteEvent) -> None:
        """A thread or a forum post was deleted."""
        request_channel_removal(self._services, event.guild_id, event.thread_id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: disnake.Guild) -> None:
        """The bot was removed from a guild. An outage of the guild is another event."""
        self._bot.dispatch("guild_gone", str(guild.id))

    @commands.Cog.listener()
    async def on_guild_gone(self, guild_id: str) -> None:
        """Handle our own event: the bot is no longer in a guild."""
        fact = build_guild_removal(guild_id, self._services.ports.now())
        self._services.recorder.add_removal(fact, Origin(correlation_id=fact.removal_id))
        for channel_id in self._services.marks.of_guild(guild_id):
            self._services.marks.drop((guild_id, channel_id))


def request_message_removals(services: Services, guild_id: int, message_ids: Iterable[int]) -> None:
    """Request the removal of deleted messages, if the log knows an image of them or keeps their payload."""
    now = services.ports.now()
    for message_id in message_ids:
        services.recent_changes.note_message(message_id)

        async def find(key: tuple[str, str] = (str(guild_id), str(message_id))) -> Sequence[RemovalRequested]:
            known = await services.ports.posts.of_message(*key) or await services.ports.unreadable_messages.has(*key)
            return [build_deletion_removal(*key, now)] if known else []

        services.recorder.add_lookup(find, build_origin(message_id))


def request_channel_removal(services: Services, guild_id: int | str, channel_id: int | str) -> None:
    """Request the removal of everything posted in a channel or thread."""
    services.recent_changes.note_channel(channel_id)
    services.marks.drop((str(guild_id), str(channel_id)))
    fact = build_channel_removal(str(guild_id), str(channel_id), services.ports.now())
    services.recorder.add_removal(fact, Origin(correlation_id=fact.removal_id))


class PostListener(commands.Cog):
    """Records what members, other bots and webhooks post. The bot's own messages are left out.

    Listeners never wait, so posts and removals are recorded in the order in which they arrive.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._intake = Intake(bot, services)

    @commands.Cog.listener()
    async def on_message_payload(self, payload: DiscordPayload) -> None:
        """Handle our own event: a new message. The mark of its channel moves once its images are recorded."""
        channel = find_channel(self._bot, payload)
        if channel is None or not is_watched_channel(self._services, channel):
            return
        self._intake.enqueue(channel, [payload], self._services.recent_changes.clock())
        place, message_id = channel_place(channel), find_message_id(payload)
        self._services.recorder.add_callback(lambda: self._services.marks.advance_live(place, message_id))

    @commands.Cog.listener()
    async def on_raw_message_edit(self, event: disnake.RawMessageUpdateEvent) -> None:
        """Record an edit. Link previews and answers of other bots arrive as edits; Discord sends the whole message with it.

        An edit may also take something away, even in a channel that is not watched any more.
        """
        payload: Any = event.data
        channel = find_channel(self._bot, payload)
        if channel is not None:
            self._intake.update(channel, payload, self._services.recent_changes.clock(), edited=True)


def find_channel(bot: commands.InteractionBot, payload: DiscordPayload) -> Any:
    """Return the channel or thread of a guild's message; None for any other message, or if the client does not know it."""
    guild = bot.get_guild(int(payload["guild_id"])) if payload.get("guild_id") else None
    channel = guild.get_channel_or_thread(int(payload["channel_id"])) if guild else None
    return channel if isinstance(channel, TYPES_WITH_MESSAGES) else None


class LeftGuildCheck(commands.Cog):
    """Finds guilds that the bot was removed from while it was away, and dispatches our own event `guild_gone` for each.

    A guild counts if marks or back-fills mention it. Discord is asked for each guild, since an erased archive does not come back.
    It was checked before that the token belongs to this archive's bot.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Check the guilds. At this point the client knows every guild, also those with an outage."""
        try:
            filled = await self._services.ports.state.list_under(BACKFILLS)
            guilds = self._services.marks.guilds() | {key.split(".")[1] for key in filled}
            for guild_id in sorted(guilds):
                if self._bot.get_guild(int(guild_id)) is None and await self._has_left(int(guild_id)):
                    log.warning("guild_left", guild_id=guild_id)
                    self._bot.dispatch("guild_gone", guild_id)
        except TRANSIENT_ERRORS as error:
            log.warning("guild_left_check_failed", error=str(error))

    async def _has_left(self, guild_id: int) -> bool:
        try:
            await self._bot.fetch_guild(guild_id)
        except (disnake.NotFound, disnake.Forbidden):
            return True
        return False


class HiddenImagesCheck(commands.Cog):
    """Requests the removal of images that their message has not shown for a week, at the start and every hour.

    Discord is asked about each of them first, since the message may have been edited while the bot was away.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._intake = Intake(bot, services)
        self._checking: asyncio.Task[None] | None = None

    def cog_unload(self) -> None:
        """Stop because the client closes."""
        if self._checking is not None:
            self._checking.cancel()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Begin. A later session changes nothing."""
        if self._checking is None:
            self._checking = asyncio.create_task(self._check_every_hour(), name="hidden-images")

    async def _check_every_hour(self) -> None:
        while True:
            try:
                async for hidden in self._services.ports.posts.list_hidden(before=self._services.ports.now() - KEPT_HIDDEN):
                    await self._expire(hidden)
            except TRANSIENT_ERRORS as error:
                log.warning("hidden_images_check_failed", error=str(error))
            except Exception:
                log.exception("hidden_images_check_failed")
            raise_if_cancelled()
            await asyncio.sleep(HIDDEN_CHECK_INTERVAL_S)

    async def _expire(self, hidden: ImageHidden) -> None:
        guild_id, channel_id, message_id = int(hidden.guild_id), int(hidden.channel_id), int(hidden.message_id)
        guild, read_at = self._bot.get_guild(guild_id), self._services.recent_changes.clock()
        if guild is None or guild.unavailable:
            return
        try:
            payload: Any = await self._bot.http.get_message(channel_id, message_id)
            channel = guild.get_channel_or_thread(channel_id) or await self._bot.fetch_channel(channel_id)
            read_message(payload)
        except disnake.NotFound:
            request_message_removals(self._services, guild_id, [message_id])
        except (UnreadableMessage, disnake.InvalidData):
            log.info("hidden_image_kept", channel_id=channel_id, message_id=message_id)
        except disnake.Forbidden:  # nobody can tell any more whether the message shows it again
            self._services.recorder.add_lookup(partial(self._find_expired, hidden), build_origin(message_id))
        else:
            self._intake.update(channel, payload, read_at)
            self._services.recorder.add_lookup(partial(self._find_expired, hidden), build_origin(message_id))

    async def _find_expired(self, hidden: ImageHidden) -> Sequence[RemovalRequested]:
        """Return the removal of a hidden image, unless its message shows it again by now."""
        known = await self._services.ports.posts.read_message(hidden.guild_id, hidden.message_id)
        removal_id, now = f"expired-{hidden.image_id}-{hidden.turn}", self._services.ports.now()
        return [
            build_image_removal(image.post, removal_id, now, expired=True)
            for image in known
            if image.image_id == hidden.image_id and image.post is not None and image.hidden and image.turn == hidden.turn
        ]


class HistoryAccessListener(commands.Cog):
    """Dispatches our own event `history_readable` for each watched channel that becomes readable.

    A changed role or overwrite may grant access, and nobody should have to wait for the next post there.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_guild_channel_update(self, _before: Any, after: disnake.abc.GuildChannel) -> None:
        """Check again, since a channel's overwrites may have changed."""
        self._dispatch_readable(after.guild)

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: disnake.Role, after: disnake.Role) -> None:
        """Check again, since a role may grant more."""
        self._dispatch_readable(after.guild)

    @commands.Cog.listener()
    async def on_member_update(self, _before: disnake.Member, after: disnake.Member) -> None:
        """Check again, since the bot got another role. Without the members intent it hears only of itself."""
        self._dispatch_readable(after.guild)

    def _dispatch_readable(self, guild: disnake.Guild) -> None:
        for guild_id, channel_id in sorted(self._services.marks.unreadable):
            channel = guild.get_channel_or_thread(int(channel_id)) if guild_id == str(guild.id) else None
            if channel is not None and bot_may_read(channel) and is_watched_channel(self._services, channel):
                self._bot.dispatch("history_readable", channel)
