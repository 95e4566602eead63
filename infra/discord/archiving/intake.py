"""One way into the log for every post: heard live, caught up or filled back."""

from collections.abc import Iterable

import disnake
from disnake.ext import commands

from contracts.envelope import Origin
from contracts.events import ImagePosted
from infra.discord.services import Services
from infra.discord.translate import facts_of_message

WITH_MESSAGES = (disnake.TextChannel, disnake.VoiceChannel, disnake.StageChannel, disnake.Thread)


class Intake:
    """Leaves out the bot's own posts, what its author wants forgotten, and what was deleted a moment ago."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    def images(self, message: disnake.Message) -> list[ImagePosted]:
        """The images of a message that are to be archived."""
        guild = message.guild
        if guild is None or self._bot.get_guild(guild.id) is None or message.author.id == self._bot.user.id:
            return []
        if self._services.forgetting.covers(guild.id, message.author.id, message.created_at):
            return []
        return self._services.recently.still_there(facts_of_message(message))

    def take(self, messages: Iterable[disnake.Message]) -> int:
        """Add the images of messages to the recorder's queue without waiting, and count them."""
        count = 0
        for message in messages:
            for fact in self.images(message):
                self._services.recorder.add(fact, Origin(correlation_id=f"message-{message.id}"))
                count += 1
        return count
