"""Posts: every image in a watched channel is recorded."""

from typing import Any

import disnake
from disnake.ext import commands

from contracts.envelope import Origin
from infra.discord.recorder import Recorder
from infra.discord.translate import facts_of_message

EVERY_CHANNEL = "all"
WITH_MESSAGES = (disnake.TextChannel, disnake.VoiceChannel, disnake.StageChannel, disnake.Thread)


def is_watched(channel: Any, channels: frozenset[str] | None) -> bool:
    """Whether a channel, its category or, for a thread, its parent is in the list; None and `all` mean every channel."""
    if channels is None or EVERY_CHANNEL in channels:
        return True
    parent = channel.parent if isinstance(channel, disnake.Thread) else None
    category_id = getattr(parent or channel, "category_id", None)
    ids = {channel.id, category_id, parent.id if parent else None}
    return not channels.isdisjoint(str(known) for known in ids if known is not None)


class Archiving(commands.Cog):
    """Records what members, other bots and webhooks post; the bot's own messages are not art."""

    def __init__(self, bot: commands.InteractionBot, recorder: Recorder, channels: frozenset[str] | None) -> None:
        self._bot = bot
        self._recorder = recorder
        self._channels = channels

    @commands.Cog.listener()
    async def on_message(self, message: disnake.Message) -> None:
        self._record(message)

    @commands.Cog.listener()
    async def on_raw_message_edit(self, event: disnake.RawMessageUpdateEvent) -> None:
        """Link previews arrive as an edit; Discord sends the whole message with it."""
        guild = self._bot.get_guild(event.guild_id) if event.guild_id else None
        channel = guild.get_channel_or_thread(event.channel_id) if guild else None
        if isinstance(channel, WITH_MESSAGES) and event.data.get("embeds"):
            self._record(disnake.Message(state=self._bot._connection, channel=channel, data=event.data))

    def _record(self, message: disnake.Message) -> None:
        if message.author.id == self._bot.user.id or not is_watched(message.channel, self._channels):
            return
        for fact in facts_of_message(message):
            self._recorder.add(fact, Origin(correlation_id=f"message-{message.id}"))
