"""Listeners for posts and deletions, and for guilds and channels that the bot lost or regained.

Nothing is removed here: each listener only records facts, such as the request of a removal.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import disnake
import structlog
from disnake.ext import commands

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import RemovalRequested
from contracts.subjects import BACKFILLS
from infra.discord.archive.changes import (
    build_channel_removal,
    build_deletion_removals,
    build_guild_removal,
)
from infra.discord.archive.history import bot_may_read, channel_place
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, Intake, is_watched_channel
from infra.discord.pictures import DiscordPayload, find_message_id
from infra.discord.services import Services

log = structlog.get_logger()

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
    """Request the removal of the images of deleted messages, if the log knows any."""
    now = services.ports.now()
    for message_id in message_ids:
        services.recent_changes.note_message(message_id)

        async def find(key: tuple[str, str] = (str(guild_id), str(message_id))) -> Sequence[RemovalRequested]:
            return build_deletion_removals(await services.ports.posts.of_message(*key), now)

        services.recorder.add_lookup(find, Origin(correlation_id=f"message-{message_id}"))


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
