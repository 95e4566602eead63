"""Who may do what where: Discord's permission bits and the order in which they are overruled."""

from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.simulator.model import Channel, Member


class Permission(IntFlag):
    """The permissions the simulator knows by name, with Discord's own bits."""

    NONE = 0
    ADMINISTRATOR = 1 << 3
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    USE_APPLICATION_COMMANDS = 1 << 31


ALL = Permission((1 << 51) - 1)
DEFAULT = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
)


def permissions_in(channel: "Channel", member: "Member") -> Permission:
    """What a member may do in a channel: roles, then the overwrites of @everyone, of the roles together, and of the member."""
    guild = channel.guild
    granted = guild.everyone.permissions
    for role in member.roles:
        granted |= role.permissions
    if member.id == guild.owner_id or granted & Permission.ADMINISTRATOR:
        return ALL
    for targets in ({guild.id}, {role.id for role in member.roles}, {member.id}):
        allow = deny = Permission.NONE
        for overwrite in channel.overwrites:
            if overwrite.target.id in targets:
                allow |= overwrite.allow
                deny |= overwrite.deny
        granted = Permission(int(granted) & ~int(deny) | int(allow))
    return granted if granted & Permission.VIEW_CHANNEL else Permission.NONE
