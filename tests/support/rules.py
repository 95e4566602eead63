"""Who may read what, written down from Discord's documentation of permissions, over plain numbers: what our own code is judged by.

https://discord.com/developers/docs/topics/permissions
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ADMINISTRATOR, VIEW, HISTORY, CONNECT, MANAGE_THREADS = 1 << 3, 1 << 10, 1 << 16, 1 << 20, 1 << 34
EVERYTHING = (1 << 60) - 1


@dataclass(frozen=True)
class Overrule:
    """What a channel allows and denies to a role or a member."""

    target: int
    allow: int
    deny: int


@dataclass(frozen=True)
class Person:
    """A member: the account's id and the ids of the roles."""

    id: int
    roles: frozenset[int]


@dataclass(frozen=True)
class Server:
    """A guild: whose it is, and what its roles grant; the one with the guild's id is everyone's."""

    id: int
    owner: int
    roles: Mapping[int, int]


@dataclass(frozen=True)
class Room:
    """A channel (a forum, too) with its overrules. `vocal`: its chat is for those who may connect."""

    id: int
    overrules: tuple[Overrule, ...] = ()
    restricted: bool = False
    vocal: bool = False


@dataclass(frozen=True)
class Spot:
    """Where messages are: a room, or a thread of it. `members` are those of a private thread, None for what is public."""

    id: int
    room: Room
    members: frozenset[int] | None = field(default=None)


def permissions(server: Server, room: Room, person: Person) -> int:
    """Roles together, then what the channel overrules for everyone, for the roles together, for the member."""
    granted = server.roles[server.id]
    for role in person.roles:
        granted |= server.roles[role]
    if person.id == server.owner or granted & ADMINISTRATOR:
        return EVERYTHING
    for targets in ({server.id}, person.roles, {person.id}):
        granted = apply_overrules(granted, [each for each in room.overrules if each.target in targets])
    return granted if granted & VIEW else 0


def apply_overrules(granted: int, overrules: Iterable[Overrule]) -> int:
    """Of overrules at one level, what any allows wins over what any denies."""
    allowed = denied = 0
    for each in overrules:
        allowed, denied = allowed | each.allow, denied | each.deny
    return granted & ~denied | allowed


def sees(server: Server, spot: Spot, person: Person) -> bool:
    """Whether new messages there come before a person's eyes."""
    granted = permissions(server, spot.room, person)
    wanted = VIEW | CONNECT if spot.room.vocal else VIEW
    inside = spot.members is None or person.id in spot.members or bool(granted & MANAGE_THREADS)
    return granted & wanted == wanted and inside


def reads(server: Server, spot: Spot, person: Person) -> bool:
    """Whether a person can look up old messages there."""
    return sees(server, spot, person) and bool(permissions(server, spot.room, person) & HISTORY)
