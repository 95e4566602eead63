"""Who may read what, implemented from Discord's documentation on plain numbers. Our own code is checked against it.

https://discord.com/developers/docs/topics/permissions
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ADMINISTRATOR, VIEW, HISTORY, CONNECT, MANAGE_THREADS = 1 << 3, 1 << 10, 1 << 16, 1 << 20, 1 << 34
EVERYTHING = (1 << 60) - 1


@dataclass(frozen=True)
class Overrule:
    """What a channel allows and denies a role or a member."""

    target: int
    allow: int
    deny: int


@dataclass(frozen=True)
class Person:
    """A member: the id of the account and the ids of the roles."""

    id: int
    roles: frozenset[int]


@dataclass(frozen=True)
class Server:
    """A guild: its owner, and the permissions of its roles. The role with the guild's id is @everyone."""

    id: int
    owner: int
    roles: Mapping[int, int]


@dataclass(frozen=True)
class Room:
    """A channel or forum with its overrules. `vocal`: only members who may connect see its chat."""

    id: int
    overrules: tuple[Overrule, ...] = ()
    restricted: bool = False
    vocal: bool = False


@dataclass(frozen=True)
class Spot:
    """A place with messages: a room, or a thread of it. `members` are those of a private thread, None if it is public."""

    id: int
    room: Room
    members: frozenset[int] | None = field(default=None)


def permissions(server: Server, room: Room, person: Person) -> int:
    """Compute permissions: those of the roles, then the overrules for everyone, for the roles together, and for the member."""
    granted = server.roles[server.id]
    for role in person.roles:
        granted |= server.roles[role]
    if person.id == server.owner or granted & ADMINISTRATOR:
        return EVERYTHING
    for targets in ({server.id}, person.roles, {person.id}):
        granted = apply_overrules(granted, [each for each in room.overrules if each.target in targets])
    return granted if granted & VIEW else 0


def apply_overrules(granted: int, overrules: Iterable[Overrule]) -> int:
    """Apply overrules of one level. What any of them allows wins over what any of them denies."""
    allowed = denied = 0
    for each in overrules:
        allowed, denied = allowed | each.allow, denied | each.deny
    return granted & ~denied | allowed


def sees(server: Server, spot: Spot, person: Person) -> bool:
    """Whether a person sees new messages in a place."""
    granted = permissions(server, spot.room, person)
    wanted = VIEW | CONNECT if spot.room.vocal else VIEW
    inside = spot.members is None or person.id in spot.members or bool(granted & MANAGE_THREADS)
    return granted & wanted == wanted and inside


def reads(server: Server, spot: Spot, person: Person) -> bool:
    """Whether a person can read old messages in a place."""
    return sees(server, spot, person) and bool(permissions(server, spot.room, person) & HISTORY)
