"""Posts: every image in a watched channel is recorded, and what an edit takes away is removed."""

import disnake
from disnake.ext import commands

from infra.discord.archive.intake import WITH_MESSAGES, Intake, watches
from infra.discord.archiving.removals import edited
from infra.discord.services import Services


class Archiving(commands.Cog):
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
        if message.guild is None or not watches(self._services, message.channel):
            return
        self._intake.take([message])
        place = (str(message.guild.id), str(message.channel.id))
        self._services.recorder.then(lambda: self._services.marks.heard(place, message.id))

    @commands.Cog.listener()
    async def on_raw_message_edit(self, event: disnake.RawMessageUpdateEvent) -> None:
        """Link previews and the answers of other bots arrive as an edit; Discord sends the whole message with it."""
        guild = self._bot.get_guild(event.guild_id) if event.guild_id else None
        channel = guild.get_channel_or_thread(event.channel_id) if guild else None
        if not isinstance(channel, WITH_MESSAGES) or not watches(self._services, channel):
            return
        message = disnake.Message(state=self._bot._connection, channel=channel, data=event.data)
        if not message.message_snapshots:
            edited(self._services, message)
        self._intake.take([message])
