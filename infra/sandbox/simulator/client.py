"""What Discord's own client lets a member do with a bot: use commands and press buttons, and see the answers with their buttons.

Simulator inherits CommandActions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.errors import MapSeekError
from infra.sandbox.simulator import interactions, payloads
from infra.sandbox.simulator.commands import CHAT_INPUT_COMMAND, MESSAGE_COMMAND, fill_options
from infra.sandbox.simulator.fields import JSON, LOCALES
from infra.sandbox.simulator.interactions import Invoker
from infra.sandbox.simulator.message_parts import iter_buttons
from infra.sandbox.simulator.model import (
    DM,
    EPHEMERAL,
    WITHOUT_MESSAGES,
    Channel,
    Interaction,
    Member,
    Message,
    Permission,
    Sign,
    compute_permissions,
)
from infra.sandbox.simulator.world import Upload, World

DEFAULT_LOCALE = "en-US"
_GUILD_CONTEXT, _DIRECT_CONTEXT = 0, 1


@dataclass(frozen=True, slots=True)
class Button:
    """A button as a member sees it. A link button has a `url`, any other button a `custom_id`."""

    label: str
    disabled: bool
    url: str | None
    style: int
    custom_id: str | None
    emoji: str | None


@dataclass(frozen=True, slots=True)
class VisibleAnswer:
    """An answer as the member sees it at one moment. `message` is the stored message, which may change later.

    `attachments` are (name, content), including the files that embeds show. `edits` counts the edits of the first response, and
    `answered_after_s` is the time of the last one.
    """

    content: str
    embeds: list[JSON]
    attachments: list[Upload]
    flags: int
    edits: int
    deferred_after_s: float | None
    answered_after_s: float
    components: list[JSON]
    message: Message

    @property
    def ephemeral(self) -> bool:
        """Whether only the asker sees it."""
        return bool(self.flags & EPHEMERAL)

    @property
    def buttons(self) -> dict[str, Button]:
        """The buttons in order, by custom id or, for a link, by URL."""
        return {button.custom_id or button.url or "": button for button in list_buttons(self.components)}


def build_visible_answer(message: Message, interaction: Interaction, answered_after_s: float, sign: Sign) -> VisibleAnswer:
    """Build the visible answer from a response message as it is now."""
    payload = payloads.message(message, sign)
    return VisibleAnswer(
        content=message.content,
        embeds=payload["embeds"],
        attachments=[(each.filename, each.data) for each in message.attachments],
        flags=message.flags,
        edits=interaction.edits,
        deferred_after_s=interaction.deferred_after_s,
        answered_after_s=answered_after_s,
        components=payload["components"],
        message=message,
    )


def list_buttons(components: list[JSON]) -> list[Button]:
    """List the buttons of a message, from the top to the bottom."""
    return [
        Button(
            label=each.get("label") or "",
            disabled=bool(each.get("disabled")),
            url=each.get("url"),
            style=each["style"],
            custom_id=each.get("custom_id"),
            emoji=(each.get("emoji") or {}).get("name"),
        )
        for each in iter_buttons(components)
    ]


def check_command_allowed(command: JSON, channel: Channel, member: Member) -> None:
    """Raise MapSeekError if the client would not offer the command to the member in this channel."""
    name = f"/{command['name']}" if command["type"] == CHAT_INPUT_COMMAND else command["name"]
    direct = channel.kind == DM
    check_channel_visible(channel, member)
    if channel.kind in WITHOUT_MESSAGES:
        raise MapSeekError(f"#{channel.name} is no text channel or thread, so {name} cannot be used in it.")
    if member.in_time_out:
        raise MapSeekError(f"{member.user.name} is in a time-out and may not use {name}.")
    allowed = compute_permissions(channel, member)
    if not direct and Permission.USE_APPLICATION_COMMANDS not in allowed:
        raise MapSeekError(f"{member.user.name} may not use commands in #{channel.name}; use a channel that the member can see.")
    contexts = command.get("contexts")
    if contexts is None:
        contexts = [_GUILD_CONTEXT, _DIRECT_CONTEXT] if command.get("dm_permission") is not False else [_GUILD_CONTEXT]
    if (_DIRECT_CONTEXT if direct else _GUILD_CONTEXT) not in contexts:
        raise MapSeekError(f"{name} is not offered in {'direct messages' if direct else 'guilds'}: its contexts are {contexts}.")
    wanted = command.get("default_member_permissions")
    if wanted is not None and not direct:
        needed = Permission(int(wanted) or Permission.ADMINISTRATOR)
        if allowed & needed != needed:
            raise MapSeekError(f"{member.user.name} may not use {name}: it takes the permissions {needed!r}.")
    if command.get("nsfw") and not (direct or (channel.parent or channel).nsfw):
        raise MapSeekError(f"{name} is age-restricted, and #{channel.name} is not.")


def check_channel_visible(channel: Channel, member: Member) -> None:
    """Raise MapSeekError if the member does not see the channel."""
    if channel.kind == DM:
        if channel.recipient is not member.user:
            raise MapSeekError(f"{member.user.name} does not see the direct messages of somebody else.")
    elif channel.guild is not member.guild or member.guild.members.get(member.id) is not member:
        raise MapSeekError(f"{member.user.name} is not asking as a member of {channel.guild.name}.")
    elif Permission.VIEW_CHANNEL not in compute_permissions(channel, member):
        raise MapSeekError(f"{member.user.name} may not use commands in #{channel.name}, nor see it.")


def check_message_visible(message: Message, member: Member) -> None:
    """Raise MapSeekError if the member cannot see the message."""
    check_channel_visible(message.channel, member)
    if message.gone:
        raise MapSeekError("The message was deleted.")
    if message.flags & EPHEMERAL and (message.interaction is None or message.interaction.user is not member.user):
        raise MapSeekError(f"{member.user.name} does not see the message: it is ephemeral, and the answer to somebody else.")


def check_locale(locale: str) -> None:
    """Raise MapSeekError for a language that Discord's clients do not have."""
    if locale not in LOCALES:
        raise MapSeekError(f"Discord's clients have no language {locale!r}; choose one of {sorted(LOCALES)}.")


def find_button(message: Message, custom_id: str | None, label: str | None) -> str:
    """Find a button by its custom id, by the beginning of its custom id, or by its label, and return its custom id.

    Raises MapSeekError if no button or several buttons fit, or if the button is disabled or a link.
    """
    there = list_buttons(message.components)
    found = [each for each in there if _button_fits(each, custom_id, label)]
    exact = [each for each in found if each.custom_id == custom_id or label is not None]
    chosen = exact or found
    if len(chosen) != 1:
        names = [(each.label, each.custom_id or each.url) for each in there]
        count = "no button" if not chosen else f"{len(chosen)} buttons"
        raise MapSeekError(f"The message has {count} {custom_id or label!r}; it has {names}.")
    (button,) = chosen
    if button.custom_id is None:
        raise MapSeekError(f"The button {button.label!r} is a link: pressing it opens {button.url} and sends nothing to the bot.")
    if button.disabled:
        raise MapSeekError(f"The button {button.label!r} is disabled.")
    return button.custom_id


def _button_fits(button: Button, custom_id: str | None, label: str | None) -> bool:
    named = custom_id is None or (button.custom_id or button.url or "").startswith(custom_id)
    return named and (label is None or button.label == label) and (custom_id, label) != (None, None)


class CommandActions:
    """Commands, button presses, and the answers that members see.

    MapSeekError is raised for what Discord's own client would not let a member do.
    """

    _world: World

    async def wait_for_command(self, name: str, *, timeout: float = 30) -> None:
        """Wait until a connected bot has registered a slash or message command, global or in a guild. Raises TimeoutError."""
        world = self._world

        def registered() -> bool:
            return any(
                _find_command(world, guild.id, name, kind)
                for guild in world.guilds.values()
                for kind in (CHAT_INPUT_COMMAND, MESSAGE_COMMAND)
            )

        await world.until(lambda: world.gateway.connected and registered(), timeout)

    async def slash(
        self,
        channel: Channel,
        member: Member,
        name: str,
        *,
        attachments: Mapping[str, Upload] | None = None,
        options: Mapping[str, Any] | None = None,
        locale: str = DEFAULT_LOCALE,
    ) -> Interaction:
        """Use a slash command, such as `find` or, with its subcommands, `archive watch add`.

        Options are values, members, channels and roles. Raises MapSeekError.
        """
        command = self._require_command(channel, member, name, CHAT_INPUT_COMMAND, locale)
        folder = f"ephemeral-attachments/{self._world.application_id}"
        files = {key: self._world.upload(folder, *upload) for key, upload in (attachments or {}).items()}
        filled = fill_options(command, name, {**(options or {}), **files}, channel, member, self._world.cdn.sign)
        return interactions.use_slash_command(self._world, Invoker(channel, member, locale), command, name, filled)

    async def message_command(
        self, channel: Channel, member: Member, name: str, message: Message, *, locale: str = DEFAULT_LOCALE
    ) -> Interaction:
        """Use a command from the menu of a message. Raises MapSeekError."""
        command = self._require_command(channel, member, name, MESSAGE_COMMAND, locale)
        check_message_visible(message, member)
        if message.channel is not channel:
            raise MapSeekError(f"The message is in #{message.channel.name}, not in #{channel.name}.")
        if message.flags & EPHEMERAL:
            raise MapSeekError("The menu of an ephemeral message has no commands.")
        return interactions.use_message_command(self._world, Invoker(channel, member, locale), command, message)

    async def press(
        self,
        target: Message | VisibleAnswer,
        member: Member,
        custom_id: str | None = None,
        *,
        label: str | None = None,
        locale: str = DEFAULT_LOCALE,
    ) -> Interaction:
        """Press a button, named by its custom id, by the unique beginning of its custom id, or by its label.

        Raises MapSeekError.
        """
        message = target.message if isinstance(target, VisibleAnswer) else target
        self._check_reachable(message.channel, locale)
        check_message_visible(message, member)
        button = find_button(message, custom_id, label)
        return interactions.press_button(self._world, Invoker(message.channel, member, locale), message, button)

    async def answer(self, interaction: Interaction, *, embedded: bool = False, timeout: float = 30) -> VisibleAnswer:
        """Wait for the answer: a message as first response, the edit of a deferred response, or the edit of the button's message.

        With `embedded`, an answer without embeds (a progress line, for example) is ignored. Raises TimeoutError.
        """

        def answered_now() -> bool:
            original = interaction.original
            return original is not None and interaction.answered_after_s is not None and bool(original.embeds or not embedded)

        await self._world.until(answered_now, timeout)
        message, answered = interaction.original, interaction.answered_after_s
        if message is None or answered is None:
            raise RuntimeError("an answer without a message")
        return build_visible_answer(message, interaction, answered, self._world.cdn.sign)

    async def followups(
        self, interaction: Interaction, n: int, *, embedded: bool = False, timeout: float = 30
    ) -> list[VisibleAnswer]:
        """Wait for `n` follow-up messages, and return all that exist by then, in order. Raises TimeoutError.

        With `embedded`, messages without embeds are not counted.
        """
        await self._world.until(lambda: sum(bool(m.embeds or not embedded) for m in interaction.followups.values()) >= n, timeout)
        sign = self._world.cdn.sign
        return [
            build_visible_answer(each, interaction, interaction.followed_after_s[each.id], sign)
            for each in interaction.followups.values()
        ]

    def _require_command(self, channel: Channel, member: Member, name: str, kind: int, locale: str) -> JSON:
        self._check_reachable(channel, locale)
        shown = f"/{name}" if kind == CHAT_INPUT_COMMAND else name
        command = _find_command(self._world, None if channel.kind == DM else channel.guild.id, name, kind)
        if command is None:
            raise MapSeekError(
                f"The bot has not registered the command {shown}; wait until it has logged in and synchronised its commands."
            )
        if not self._world.gateway.connected:
            raise MapSeekError(f"No bot is connected to receive {shown}; start the gateway first.")
        check_command_allowed(command, channel, member)
        return command

    def _check_reachable(self, channel: Channel, locale: str) -> None:
        check_locale(locale)
        if channel.id not in self._world.channels:
            raise MapSeekError(f"#{channel.name} no longer exists.")
        if self._world.bot.id not in channel.guild.members:
            raise MapSeekError(f"The bot is no longer in {channel.guild.name}.")


def _find_command(world: World, guild_id: int | None, name: str, kind: int) -> JSON | None:
    """Find the command with a name in a guild (guild commands come first) or, with None, in direct messages."""
    own = [] if guild_id is None else world.commands.get(guild_id, [])
    wanted = (name.split() or [""])[0] if kind == CHAT_INPUT_COMMAND else name
    return next((each for each in (*own, *world.commands[None]) if (each["name"], each["type"]) == (wanted, kind)), None)
