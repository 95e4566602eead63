"""What responses to an interaction do: a new message, a promise of one, or a change of the message whose button was pressed."""

import time

from infra.simulator import fields
from infra.simulator.body import Body, apply_body
from infra.simulator.errors import invalid_form, unknown
from infra.simulator.model import COMPONENT, EPHEMERAL, LOADING, Interaction, Message
from infra.simulator.world import World

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE = 4, 5, 6, 7
"""The types of first responses; the last two are for presses alone."""

SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS = 1 << 2, 1 << 12
_COMPONENTS_V2 = 1 << 15
_SETTABLE = EPHEMERAL | SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS


def acknowledge(world: World, interaction: Interaction, body: Body) -> None:
    """The first response. Raises ApiError, and then nothing was changed."""
    kind = body.payload.get("type")
    allowed = (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE) if interaction.kind == COMPONENT else (MESSAGE, DEFERRED)
    if kind not in allowed:
        raise invalid_form(["type"], "BASE_TYPE_CHOICES", f"Value must be one of {allowed}.")
    content = Body(fields.obj(body.payload.get("data"), ["data"]), body.files)
    elapsed = time.monotonic() - interaction.started
    pressed = interaction.message
    if kind == MESSAGE:
        interaction.original = _new(world, interaction, content)
        world.create_message(interaction.original)
    elif kind == DEFERRED:
        interaction.original = _blank(world, interaction)
        interaction.original.flags = LOADING | (_flags(content) & EPHEMERAL)
        world.create_message(interaction.original)
    else:
        if pressed is None or pressed.gone:
            raise unknown("Message")
        if kind == UPDATE:
            _write(world, pressed, content)
        interaction.original = pressed
    interaction.callback = kind
    if kind in (DEFERRED, DEFERRED_UPDATE):
        interaction.deferred_after_s = elapsed
    else:
        interaction.answered_after_s = elapsed
    world.changed()


def follow(world: World, interaction: Interaction, body: Body) -> Message:
    """A message besides the first response. Raises ApiError."""
    message = _new(world, interaction, body)
    interaction.followups[message.id] = message
    interaction.followed_after_s[message.id] = time.monotonic() - interaction.started
    world.create_message(message)
    world.changed()
    return message


def change(world: World, interaction: Interaction, message: Message, body: Body) -> None:
    """A change of a response; the first one of a promised message keeps the promise. Raises ApiError."""
    _write(world, message, body)
    if message is interaction.original:
        interaction.edits += 1
        interaction.answered_after_s = time.monotonic() - interaction.started
    world.changed()


def _write(world: World, message: Message, body: Body) -> None:
    apply_body(world, message, body.payload, body.files)
    message.flags &= ~LOADING
    message.edited_at = world.clock()
    world.announce(message, "MESSAGE_UPDATE")


def _new(world: World, interaction: Interaction, body: Body) -> Message:
    message = _blank(world, interaction)
    message.flags = _flags(body)
    apply_body(world, message, body.payload, body.files)
    return message


def _blank(world: World, interaction: Interaction) -> Message:
    message = world.new_message(interaction.channel, world.bot)
    message.interaction, message.reference = interaction, interaction.message
    return message


def _flags(body: Body) -> int:
    flags = fields.integer(body.payload.get("flags"), ["flags"])
    if flags & _COMPONENTS_V2:
        raise invalid_form(["flags"], "UNSUPPORTED", "Messages of components alone are not simulated.")
    return flags & _SETTABLE
