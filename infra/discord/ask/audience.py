"""Who may read what: a search is answered only from channels that its asker may open now. A mistake here is a leak.

The readers of a channel may read its public threads and forum posts, so only parents are listed. Private threads are listed if they
are active and the asker is in them. Archived private threads are left out, since it would cost too much to find out who is in them.

An answer that is visible to all is seen by everyone who may see the place, whatever their roles are. The bot does not know the
members or their roles, so it works out what they may read for every mixture of roles that makes a difference.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import aiohttp
import disnake
import structlog

log = structlog.get_logger()

READ_PERMISSIONS = disnake.Permissions(view_channel=True, read_message_history=True)
CONNECT_PERMISSION = disnake.Permissions(connect=True)
VOICE_TYPES = (disnake.VoiceChannel, disnake.StageChannel)

MAX_ROLE_MIXTURES = 4_096
"""The most mixtures of roles that are checked. A guild with more cannot be checked in time, so nothing of the channel is shown."""

NO_OVERWRITE = (0, 0)
OverwritesById = Mapping[int, tuple[int, int]]
"""What a channel allows and denies, by role id or member id."""

TYPES_WITH_POSTS = (disnake.TextChannel, *VOICE_TYPES, disnake.ForumChannel, disnake.MediaChannel)

MAX_PRIVATE_THREADS = 20
"""The most private threads that one search asks Discord about. Each costs a request."""
THREAD_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class RoleMixture:
    """What some roles have together: permissions in the guild, and what two channels (`here` and `there`) allow and deny them."""

    granted: int = 0
    here: tuple[int, int] = NO_OVERWRITE
    there: tuple[int, int] = NO_OVERWRITE

    def __or__(self, other: "RoleMixture") -> "RoleMixture":
        return RoleMixture(
            self.granted | other.granted, _merge_overwrites(self.here, other.here), _merge_overwrites(self.there, other.there)
        )


def required_permissions(channel: Any) -> int:
    """Return the permissions needed to read a channel's history.

    A member who may not connect to a voice channel does not see its chat.
    """
    return int((READ_PERMISSIONS | CONNECT_PERMISSION if isinstance(channel, VOICE_TYPES) else READ_PERMISSIONS).value)


def all_may_read(channel: Any, home: Any) -> bool:
    """Tell whether everyone who sees new messages in `home` may read the history of `channel`.

    Reading the history needs more permissions than seeing new messages.
    """
    guild = channel.guild
    to_see = required_permissions(home) & ~int(disnake.Permissions(read_message_history=True).value)
    to_read = required_permissions(channel)
    here, there = _read_overwrites(home, to_see | to_read), _read_overwrites(channel, to_see | to_read)
    everyone = guild.default_role
    start = RoleMixture(everyone.permissions.value)
    roles = [role for role in guild.roles if role != everyone and not role.permissions.administrator]
    known = {everyone.id, *(role.id for role in guild.roles)}
    people = [None, *((here.keys() | there.keys()) - known)]
    mixtures = _list_mixtures(_role_part(role, here, there, to_see | to_read) for role in roles)
    return everyone.permissions.administrator or (
        mixtures is not None
        and not any(
            _has_permissions(to_see, start | mixture, everyone.id, mixture.here, here, person)
            and not _has_permissions(to_read, start | mixture, everyone.id, mixture.there, there, person)
            for mixture in mixtures
            for person in people
        )
    )


def _has_permissions(
    wanted: int, mixture: RoleMixture, everyone: int, of_roles: tuple[int, int], rules: OverwritesById, person: int | None
) -> bool:
    """Tell whether a member has permissions in a channel.

    The guild's permissions are overruled by the overwrites for everyone, then for the member's roles, then for the member.
    """
    layers = (rules.get(everyone, NO_OVERWRITE), of_roles, NO_OVERWRITE if person is None else rules.get(person, NO_OVERWRITE))
    return wanted == wanted & reduce(lambda granted, layer: granted & ~layer[1] | layer[0], layers, mixture.granted)


def _list_mixtures(parts: Iterable[RoleMixture]) -> set[RoleMixture] | None:
    """Return everything that members may have through their roles together; None if there are too many to check."""
    found = {RoleMixture()}
    for part in set(parts):
        found |= {each | part for each in found}
        if len(found) > MAX_ROLE_MIXTURES:
            return None
    return found


def _role_part(role: disnake.Role, here: OverwritesById, there: OverwritesById, bits: int) -> RoleMixture:
    return RoleMixture(role.permissions.value & bits, here.get(role.id, NO_OVERWRITE), there.get(role.id, NO_OVERWRITE))


def _read_overwrites(channel: Any, bits: int) -> OverwritesById:
    """Return a channel's overwrites. disnake's own view leaves out members that it does not know."""
    return {each.id: (each.allow & bits, each.deny & bits) for each in channel._overwrites}


def _merge_overwrites(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] | second[0], first[1] | second[1]


async def list_readable_channels(
    guild: disnake.Guild, asker: disnake.Member, place: Any, *, seen_by_all: bool = False
) -> tuple[str, ...]:
    """Return the ids of the channels whose posts may be shown to the asker in `place`, the channel or thread where they ask.

    Age-restricted channels are included only if the place is age-restricted, too. If the answer is `seen_by_all` in the place, only
    channels that everyone there may read are included.
    """
    home = _find_home(guild, place)
    channels = [channel for channel in guild.channels if may_open(channel, asker, age_restricted=is_age_restricted(home))]
    if seen_by_all:
        common = [] if home is None else [channel for channel in channels if all_may_read(channel, home)]
        private = [place] if isinstance(place, disnake.Thread) and place.is_private() and home in common else []
        return _channel_ids([*common, *private])
    threads = [thread for thread in guild.threads if thread.is_private() and thread.parent in channels]
    return _channel_ids([*channels, *await _list_joined(threads, asker)])


def may_open(channel: Any, asker: disnake.Member, *, age_restricted: bool) -> bool:
    """Tell whether a member may read the history of a channel that holds posts or threads; False for a thread."""
    if not isinstance(channel, TYPES_WITH_POSTS) or (channel.is_nsfw() and not age_restricted):
        return False
    return bool(channel.permissions_for(asker).value & required_permissions(channel) == required_permissions(channel))


async def asker_may_read(channel: Any, asker: disnake.Member, place: Any) -> bool:
    """Tell whether a member who asks in `place` may read the history of this channel or thread."""
    restricted = is_age_restricted(_find_home(asker.guild, place))
    if not isinstance(channel, disnake.Thread):
        return may_open(channel, asker, age_restricted=restricted)
    if not may_open(channel.parent, asker, age_restricted=restricted):
        return False
    return not channel.is_private() or bool(await _list_joined([channel], asker))


def is_age_restricted(place: Any) -> bool:
    """Tell whether a channel, or the parent of a thread, is for adults only; False for an unknown channel."""
    home = place.parent if isinstance(place, disnake.Thread) else place
    return isinstance(home, TYPES_WITH_POSTS) and home.is_nsfw()


async def _list_joined(threads: Iterable[disnake.Thread], asker: disnake.Member) -> list[disnake.Thread]:
    """Return the private threads that the asker is in or may manage.

    Discord is asked for each, since it does not tell bots when a member leaves a thread.
    """
    managed = [thread for thread in threads if thread.permissions_for(asker).manage_threads]
    others = sorted((thread for thread in threads if thread not in managed), key=lambda thread: thread.id, reverse=True)
    asked = others[:MAX_PRIVATE_THREADS]
    known = await asyncio.gather(*(_is_in(thread, asker) for thread in asked))
    return [*managed, *(thread for thread, is_in in zip(asked, known, strict=True) if is_in)]


async def _is_in(thread: disnake.Thread, asker: disnake.Member) -> bool:
    try:
        async with asyncio.timeout(THREAD_TIMEOUT_S):
            await thread.fetch_member(asker.id)
    except disnake.NotFound:
        return False
    except (disnake.HTTPException, aiohttp.ClientError, TimeoutError, OSError) as error:
        log.info("private_thread_skipped", channel_id=thread.id, error=type(error).__name__)
        return False
    return True


def _find_home(guild: disnake.Guild, place: Any) -> Any:
    """Return the channel whose permissions apply in a place; None if it is unknown. The channel in an interaction lacks them."""
    return guild.get_channel(place.parent_id if isinstance(place, disnake.Thread) else place.id)


def _channel_ids(channels: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(channel.id) for channel in channels)
