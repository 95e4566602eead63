"""Who may do what where: Discord's permission bits and the order in which they are overruled."""

from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.simulator.model import Channel, Member


class Permission(IntFlag):
    """The permissions the simulator knows by name, with Discord's own bits."""

    NONE = 0
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38


ALL = Permission((1 << 51) - 1)
DEFAULT = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)


def permissions_in(channel: "Channel", member: "Member") -> Permission:
    """What a member may do in a channel: roles, then the overwrites of @everyone, of the roles together, and of the member.

    A thread has its parent's permissions; a private one is closed to all but its members and those who manage threads.
    """
    if channel.parent is not None:
        granted = permissions_in(channel.parent, member)
        return Permission.NONE if channel.private and not _may_enter(channel, member, granted) else granted
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


def _may_enter(thread: "Channel", member: "Member", granted: Permission) -> bool:
    return member.id in thread.joined or bool(granted & Permission.MANAGE_THREADS)
