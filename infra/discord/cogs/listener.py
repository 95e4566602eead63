"""Posts: every image in a watched channel is recorded, and what an edit takes away is removed.

Removals: what is deleted on Discord leaves the archive. Nothing is removed here; the log is told what is to go.

Guilds that the bot was removed from while it was away: their archive is erased as if it had heard of it.

History that the bot may read at last: a role or an overwrite was changed, so nobody has to wait for the next post there.
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
from infra.discord.archive.history import bot_may_read
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, Intake, is_watched_channel
from infra.discord.archive.removal_facts import (
    build_channel_removal,
    build_deletion_removals,
    build_edit_removals,
    build_guild_removal,
)
from infra.discord.services import Services

log = structlog.get_logger()

TRANSIENT_ERRORS = (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError, Unavailable)


class DeletionListener(commands.Cog):
    """Hears of deletions, of watched channels or not: what was archived may be of a time when the channel was watched."""

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
        """A moderator cleared a channel, or a member was banned with their messages."""
        if event.guild_id is not None:
            request_message_removals(self._services, event.guild_id, sorted(event.message_ids))

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: disnake.abc.GuildChannel) -> None:
        """A channel was deleted, with its threads: private ones by themselves, since only public ones count as the channel's."""
        request_channel_removal(self._services, channel.guild.id, channel.id)
        for thread in list(channel.guild.threads):
            if thread.parent_id == channel.id:
                request_channel_removal(self._services, channel.guild.id, thread.id)

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, event: disnake.RawThreadDeleteEvent) -> None:
        """A thread or a forum's post was deleted."""
        request_channel_removal(self._services, event.guild_id, event.thread_id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: disnake.Guild) -> None:
        """The bot was removed from a guild. An outage of the guild is another event."""
        self._bot.dispatch("guild_gone", str(guild.id))

    @commands.Cog.listener()
    async def on_guild_gone(self, guild_id: str) -> None:
        """Our own event: the bot is no longer in a guild."""
        fact = build_guild_removal(guild_id, self._services.ports.now())
        self._services.recorder.add_removal(fact, Origin(correlation_id=fact.removal_id))
        for channel_id in self._services.marks.of_guild(guild_id):
            self._services.marks.drop((guild_id, channel_id))


def request_message_removals(services: Services, guild_id: int, message_ids: Iterable[int]) -> None:
    """Request the removal of messages' images, where the log knows any."""
    now = services.ports.now()
    for message_id in message_ids:
        services.recent_deletions.note_message(message_id)

        async def find(key: tuple[str, str] = (str(guild_id), str(message_id))) -> Sequence[RemovalRequested]:
            return build_deletion_removals(await services.ports.posts.of_message(*key), now)

        services.recorder.add_lookup(find, Origin(correlation_id=f"message-{message_id}"))


def request_attachment_removals(services: Services, message: disnake.Message) -> None:
    """Request the removal of the attachments that a message has no longer, where the log knows any."""
    if message.guild is None:
        return
    guild_id, message_id, now = str(message.guild.id), str(message.id), services.ports.now()
    attached = frozenset(str(file.id) for file in message.attachments)
    services.recent_deletions.note_edit(message_id, attached)

    async def find() -> Sequence[RemovalRequested]:
        return build_edit_removals(await services.ports.posts.of_message(guild_id, message_id), attached, now)

    services.recorder.add_lookup(find, Origin(correlation_id=f"message-{message_id}"))


def request_channel_removal(services: Services, guild_id: int | str, channel_id: int | str) -> None:
    """Request the removal of everything that was posted in a channel or thread."""
    services.recent_deletions.note_channel(channel_id)
    services.marks.drop((str(guild_id), str(channel_id)))
    fact = build_channel_removal(str(guild_id), str(channel_id), services.ports.now())
    services.recorder.add_removal(fact, Origin(correlation_id=fact.removal_id))


class PostListener(commands.Cog):
    """Records what members, other bots and webhooks post; the bot's own messages are not art.

    Listeners never wait, so that posts and removals are recorded in the order in which they were heard.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._intake = Intake(bot, services)

    @commands.Cog.listener()
    async def on_message(self, message: disnake.Message) -> None:
        """A new message; the mark of its channel follows once its images are recorded."""
        if message.guild is None or not is_watched_channel(self._services, message.channel):
            return
        self._intake.take([message])
        place = (str(message.guild.id), str(message.channel.id))
        self._services.recorder.add_callback(lambda: self._services.marks.advance_live(place, message.id))

    @commands.Cog.listener()
    async def on_raw_message_edit(self, event: disnake.RawMessageUpdateEvent) -> None:
        """Link previews and the answers of other bots arrive as an edit; Discord sends the whole message with it."""
        guild = self._bot.get_guild(event.guild_id) if event.guild_id else None
        channel = guild.get_channel_or_thread(event.channel_id) if guild else None
        if not isinstance(channel, TYPES_WITH_MESSAGES) or not is_watched_channel(self._services, channel):
            return
        message = disnake.Message(state=self._bot._connection, channel=channel, data=event.data)
        if not message.message_snapshots:
            request_attachment_removals(self._services, message)
        self._intake.take([message])


class LeftGuildCheck(commands.Cog):
    """Dispatches `guild_gone`, an event of our own, with every guild that marks or back-fills tell of and the bot is not in.

    Discord is asked for each by itself, since what is erased does not come back. That the token is that of this archive's bot was
    looked at before.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Every guild is known, those with an outage too."""
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
    """Dispatches `history_readable`, an event of our own, with each watched channel that could not be read and now can."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_guild_channel_update(self, _before: Any, after: disnake.abc.GuildChannel) -> None:
        """A channel's overwrites may be others."""
        self._dispatch_readable(after.guild)

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: disnake.Role, after: disnake.Role) -> None:
        """A role may grant more."""
        self._dispatch_readable(after.guild)

    @commands.Cog.listener()
    async def on_member_update(self, _before: disnake.Member, after: disnake.Member) -> None:
        """The bot was given another role; without the members intent it hears of itself alone."""
        self._dispatch_readable(after.guild)

    def _dispatch_readable(self, guild: disnake.Guild) -> None:
        for guild_id, channel_id in sorted(self._services.marks.unreadable):
            channel = guild.get_channel_or_thread(int(channel_id)) if guild_id == str(guild.id) else None
            if channel is not None and bot_may_read(channel) and is_watched_channel(self._services, channel):
                self._bot.dispatch("history_readable", channel)
