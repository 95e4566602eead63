"""Removals: what is deleted on Discord leaves the archive. Nothing is removed here; the log is told what is to go."""

from collections.abc import Iterable, Sequence

import disnake
from disnake.ext import commands

from contracts.envelope import Origin
from contracts.events import RemovalRequested
from infra.discord.archive.removal_facts import channel_gone, deletion, guild_gone, reduction
from infra.discord.services import Services


class Removals(commands.Cog):
    """Hears of deletions, of watched channels or not: what was archived may be of a time when the channel was watched."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_raw_message_delete(self, event: disnake.RawMessageDeleteEvent) -> None:
        """One message was deleted."""
        if event.guild_id is not None:
            deleted(self._services, event.guild_id, [event.message_id])

    @commands.Cog.listener()
    async def on_raw_bulk_message_delete(self, event: disnake.RawBulkMessageDeleteEvent) -> None:
        """A moderator cleared a channel, or a member was banned with their messages."""
        if event.guild_id is not None:
            deleted(self._services, event.guild_id, sorted(event.message_ids))

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: disnake.abc.GuildChannel) -> None:
        """A channel was deleted, with its threads: private ones by themselves, since only public ones count as the channel's."""
        remove_channel(self._services, channel.guild.id, channel.id)
        for thread in list(channel.guild.threads):
            if thread.parent_id == channel.id:
                remove_channel(self._services, channel.guild.id, thread.id)

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, event: disnake.RawThreadDeleteEvent) -> None:
        """A thread or a forum's post was deleted."""
        remove_channel(self._services, event.guild_id, event.thread_id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: disnake.Guild) -> None:
        """The bot was removed from a guild. An outage of the guild is another event."""
        self._bot.dispatch("guild_gone", str(guild.id))

    @commands.Cog.listener()
    async def on_guild_gone(self, guild_id: str) -> None:
        """Our own event: the bot is no longer in a guild."""
        fact = guild_gone(guild_id, self._services.ports.now())
        self._services.recorder.add_removal(fact, Origin(correlation_id=fact.removal_id))
        for channel_id in self._services.marks.of_guild(guild_id):
            self._services.marks.drop((guild_id, channel_id))


def deleted(services: Services, guild_id: int, message_ids: Iterable[int]) -> None:
    """Request the removal of messages' images, where the log knows any."""
    now = services.ports.now()
    for message_id in message_ids:
        services.recently.deleted(message_id)

        async def find(key: tuple[str, str] = (str(guild_id), str(message_id))) -> Sequence[RemovalRequested]:
            return deletion(await services.ports.posts.of_message(*key), now)

        services.recorder.add_found(find, Origin(correlation_id=f"message-{message_id}"))


def edited(services: Services, message: disnake.Message) -> None:
    """Request the removal of the attachments that a message has no longer, where the log knows any."""
    if message.guild is None:
        return
    guild_id, message_id, now = str(message.guild.id), str(message.id), services.ports.now()
    attached = frozenset(str(file.id) for file in message.attachments)
    services.recently.edited(message_id, attached)

    async def find() -> Sequence[RemovalRequested]:
        return reduction(await services.ports.posts.of_message(guild_id, message_id), attached, now)

    services.recorder.add_found(find, Origin(correlation_id=f"message-{message_id}"))


def remove_channel(services: Services, guild_id: int | str, channel_id: int | str) -> None:
    """Request the removal of everything that was posted in a channel or thread."""
    services.recently.channel_deleted(channel_id)
    services.marks.drop((str(guild_id), str(channel_id)))
    fact = channel_gone(str(guild_id), str(channel_id), services.ports.now())
    services.recorder.add_removal(fact, Origin(correlation_id=fact.removal_id))
