"""What members ask of the bot: slash commands, commands on a message, presses of buttons, and the answers they then see."""

from collections.abc import Mapping
from typing import Any

from contracts.errors import MapSeekError
from infra.simulator import client, invoking
from infra.simulator.answers import Answer, seen
from infra.simulator.commands import MESSAGE, SLASH
from infra.simulator.errors import JSON
from infra.simulator.invoking import Presser
from infra.simulator.model import DIRECT, EPHEMERAL, Channel, Interaction, Member, Message
from infra.simulator.options import fill
from infra.simulator.world import Upload, World

LOCALE = "en-US"


class Asking:
    """The part of the simulator that uses the bot. MapSeekError is for what Discord's own client would not let a member do."""

    _world: World

    async def wait_for_command(self, name: str, *, timeout: float = 30) -> None:
        """Return once a connected bot has registered a command somewhere, of slash or message. Raises TimeoutError."""
        world = self._world

        def registered() -> bool:
            return any(_offered(world, guild.id, name, kind) for guild in world.guilds.values() for kind in (SLASH, MESSAGE))

        await world.until(lambda: world.gateway.connected and registered(), timeout)

    async def slash(
        self,
        channel: Channel,
        member: Member,
        name: str,
        *,
        attachments: Mapping[str, Upload] | None = None,
        options: Mapping[str, Any] | None = None,
        locale: str = LOCALE,
    ) -> Interaction:
        """Use `find` or, with its subcommands, `archive watch add`; options are values, members, channels and roles.

        Raises MapSeekError.
        """
        command = self._command(channel, member, name, SLASH, locale)
        folder = f"ephemeral-attachments/{self._world.application_id}"
        files = {key: self._world.upload(folder, *upload) for key, upload in (attachments or {}).items()}
        filled = fill(command, name, {**(options or {}), **files}, channel, member, self._world.cdn.sign)
        return invoking.use_slash(self._world, Presser(channel, member, locale), command, name, filled)

    async def message_command(
        self, channel: Channel, member: Member, name: str, message: Message, *, locale: str = LOCALE
    ) -> Interaction:
        """Choose a command from the menu of a message. Raises MapSeekError."""
        command = self._command(channel, member, name, MESSAGE, locale)
        client.check_readable(message, member)
        if message.channel is not channel:
            raise MapSeekError(f"The message is in #{message.channel.name}, not in #{channel.name}.")
        if message.flags & EPHEMERAL:
            raise MapSeekError("The menu of an ephemeral message has no commands.")
        return invoking.use_on_message(self._world, Presser(channel, member, locale), command, message)

    async def press(
        self,
        target: Message | Answer,
        member: Member,
        custom_id: str | None = None,
        *,
        label: str | None = None,
        locale: str = LOCALE,
    ) -> Interaction:
        """Press the button with that custom id, with the only one that begins so, or with that label. Raises MapSeekError."""
        message = target.message if isinstance(target, Answer) else target
        self._check_reachable(message.channel, locale)
        client.check_readable(message, member)
        button = client.pressed_button(message, custom_id, label)
        return invoking.press_button(self._world, Presser(message.channel, member, locale), message, button)

    async def answer(self, interaction: Interaction, *, embedded: bool = False, timeout: float = 30) -> Answer:
        """Wait for the answer: the deferred one edited, a message as first response, or the message of the button changed.

        With `embedded` an answer without embeds, such as a line that says at what the bot is, is passed over. Raises TimeoutError.
        """

        def answered_now() -> bool:
            original = interaction.original
            return original is not None and interaction.answered_after_s is not None and bool(original.embeds or not embedded)

        await self._world.until(answered_now, timeout)
        message, answered = interaction.original, interaction.answered_after_s
        if message is None or answered is None:
            raise RuntimeError("an answer without a message")
        return seen(message, interaction, answered, self._world.cdn.sign)

    async def followups(self, interaction: Interaction, n: int, *, embedded: bool = False, timeout: float = 30) -> list[Answer]:
        """Wait for `n` messages besides the answer, and see all that there are by then, in order. Raises TimeoutError.

        With `embedded` messages without embeds are not counted.
        """
        await self._world.until(lambda: sum(bool(m.embeds or not embedded) for m in interaction.followups.values()) >= n, timeout)
        sign = self._world.cdn.sign
        return [seen(each, interaction, interaction.followed_after_s[each.id], sign) for each in interaction.followups.values()]

    def _command(self, channel: Channel, member: Member, name: str, kind: int, locale: str) -> JSON:
        self._check_reachable(channel, locale)
        shown = f"/{name}" if kind == SLASH else name
        command = _offered(self._world, None if channel.kind == DIRECT else channel.guild.id, name, kind)
        if command is None:
            raise MapSeekError(
                f"The bot has not registered the command {shown}; wait until it has logged in and synchronised its commands."
            )
        if not self._world.gateway.connected:
            raise MapSeekError(f"No bot is connected that could be asked {shown}; start the gateway first.")
        client.check_use(command, channel, member)
        return command

    def _check_reachable(self, channel: Channel, locale: str) -> None:
        client.check_locale(locale)
        if channel.id not in self._world.channels:
            raise MapSeekError(f"#{channel.name} is no longer there.")
        if self._world.bot.id not in channel.guild.members:
            raise MapSeekError(f"The bot is no longer in {channel.guild.name}.")


def _offered(world: World, guild_id: int | None, name: str, kind: int) -> JSON | None:
    """The command of that name that members see in a guild (its own come first) or, with None, in direct messages."""
    own = [] if guild_id is None else world.commands.get(guild_id, [])
    wanted = (name.split() or [""])[0] if kind == SLASH else name
    return next((each for each in (*own, *world.commands[None]) if (each["name"], each["type"]) == (wanted, kind)), None)
