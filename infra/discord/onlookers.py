"""Who sees an answer that is visible to all: everyone who may see the place, with whatever roles they have. What they may read is
worked out for every mixture of roles that makes a difference, since the bot knows no members and cannot say who has which.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import disnake

READING = disnake.Permissions(view_channel=True, read_message_history=True)
LISTENING = disnake.Permissions(connect=True)
VOCAL = (disnake.VoiceChannel, disnake.StageChannel)

MOST_MIXTURES = 4_096
"""Mixtures of roles that are looked at: in a guild with more nobody can tell in time, and nothing of the channel is shown."""

NOTHING = (0, 0)
Rules = Mapping[int, tuple[int, int]]
"""What a channel allows and denies, by role or member."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """What some roles have together: permissions in the guild, and what two channels allow and deny them."""

    granted: int = 0
    here: tuple[int, int] = NOTHING
    there: tuple[int, int] = NOTHING

    def __or__(self, other: "Mixture") -> "Mixture":
        return Mixture(self.granted | other.granted, _both(self.here, other.here), _both(self.there, other.there))


def needed(channel: Any) -> int:
    """The permissions that it takes to read a channel's history; who may not enter a voice channel does not see its chat."""
    return int((READING | LISTENING if isinstance(channel, VOCAL) else READING).value)


def all_may_read(channel: Any, home: Any) -> bool:
    """Whether everyone who sees what is new in `home` may read the history of `channel`. Reading back takes more than seeing."""
    guild = channel.guild
    to_see = needed(home) & ~int(disnake.Permissions(read_message_history=True).value)
    to_read = needed(channel)
    here, there = _rules(home, to_see | to_read), _rules(channel, to_see | to_read)
    everyone = guild.default_role
    start = Mixture(everyone.permissions.value)
    roles = [role for role in guild.roles if role != everyone and not role.permissions.administrator]
    known = {everyone.id, *(role.id for role in guild.roles)}
    people = [None, *((here.keys() | there.keys()) - known)]
    mixtures = _mixtures(_part(role, here, there, to_see | to_read) for role in roles)
    return everyone.permissions.administrator or (
        mixtures is not None
        and not any(
            _has(to_see, start | mixture, everyone.id, mixture.here, here, person)
            and not _has(to_read, start | mixture, everyone.id, mixture.there, there, person)
            for mixture in mixtures
            for person in people
        )
    )


def _has(wanted: int, mixture: Mixture, everyone: int, of_roles: tuple[int, int], rules: Rules, person: int | None) -> bool:
    """Whether a member has permissions in a channel: the guild's, overruled for everyone, for their roles, and for themselves."""
    layers = (rules.get(everyone, NOTHING), of_roles, NOTHING if person is None else rules.get(person, NOTHING))
    return wanted == wanted & reduce(lambda granted, layer: granted & ~layer[1] | layer[0], layers, mixture.granted)


def _mixtures(parts: Iterable[Mixture]) -> set[Mixture] | None:
    """What members may have by their roles together; None if that may be too much to look at."""
    found = {Mixture()}
    for part in set(parts):
        found |= {each | part for each in found}
        if len(found) > MOST_MIXTURES:
            return None
    return found


def _part(role: disnake.Role, here: Rules, there: Rules, bits: int) -> Mixture:
    return Mixture(role.permissions.value & bits, here.get(role.id, NOTHING), there.get(role.id, NOTHING))


def _rules(channel: Any, bits: int) -> Rules:
    """disnake's own view leaves out the members that it does not know."""
    return {each.id: (each.allow & bits, each.deny & bits) for each in channel._overwrites}


def _both(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] | second[0], first[1] | second[1]
