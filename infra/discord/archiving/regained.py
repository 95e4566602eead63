"""History that the bot may read at last: a role or an overwrite was changed, so nobody has to wait for the next post there."""

from typing import Any

import disnake
from disnake.ext import commands

from infra.discord.archive.history import may_read
from infra.discord.archive.intake import watches
from infra.discord.services import Services


class Regained(commands.Cog):
    """Dispatches `history_readable`, an event of our own, with each watched channel that could not be read and now can."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_guild_channel_update(self, _before: Any, after: disnake.abc.GuildChannel) -> None:
        """A channel's overwrites may be others."""
        self._look(after.guild)

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: disnake.Role, after: disnake.Role) -> None:
        """A role may grant more."""
        self._look(after.guild)

    @commands.Cog.listener()
    async def on_member_update(self, _before: disnake.Member, after: disnake.Member) -> None:
        """The bot was given another role; without the members intent it hears of itself alone."""
        self._look(after.guild)

    def _look(self, guild: disnake.Guild) -> None:
        for guild_id, channel_id in sorted(self._services.marks.unreadable):
            channel = guild.get_channel_or_thread(int(channel_id)) if guild_id == str(guild.id) else None
            if channel is not None and may_read(channel) and watches(self._services, channel):
                self._bot.dispatch("history_readable", channel)
