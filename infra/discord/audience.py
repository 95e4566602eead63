"""Who may read what: a question is answered only from channels that its asker may open now. A mistake here is a leak.

Public threads and forum posts are read by the readers of their parent, so only parents are listed. Private threads are listed if
they are active and the asker is in them; archived private ones are left out, since nobody can say cheaply who is in them.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp
import disnake
import structlog

from infra.discord.onlookers import VOCAL, all_may_read, needed

log = structlog.get_logger()

WITH_POSTS = (disnake.TextChannel, *VOCAL, disnake.ForumChannel, disnake.MediaChannel)

MOST_PRIVATE_THREADS = 20
"""How many private threads are asked about for one question: each costs a request."""
PATIENCE = 3.0


async def readable_channels(
    guild: disnake.Guild, asker: disnake.Member, place: Any, *, seen_by_all: bool = False
) -> tuple[str, ...]:
    """The ids of the channels whose posts may be shown to the asker in `place`, the channel or thread where they ask.

    Age-restricted channels only where the place is so too. One that is `seen_by_all` who are there shows only what all may read.
    """
    home = _home(guild, place)
    channels = [channel for channel in guild.channels if may_open(channel, asker, age_restricted=is_age_restricted(home))]
    if seen_by_all:
        common = [] if home is None else [channel for channel in channels if all_may_read(channel, home)]
        private = [place] if isinstance(place, disnake.Thread) and place.is_private() and home in common else []
        return _ids([*common, *private])
    threads = [thread for thread in guild.threads if thread.is_private() and thread.parent in channels]
    return _ids([*channels, *await _joined(threads, asker)])


def may_open(channel: Any, asker: disnake.Member, *, age_restricted: bool) -> bool:
    """Whether a member may read the history of a channel that holds posts or threads; no thread is one."""
    if not isinstance(channel, WITH_POSTS) or (channel.is_nsfw() and not age_restricted):
        return False
    return bool(channel.permissions_for(asker).value & needed(channel) == needed(channel))


async def may_read(channel: Any, asker: disnake.Member, place: Any) -> bool:
    """Whether a member who asks in `place` may read the history of this channel or thread."""
    restricted = is_age_restricted(_home(asker.guild, place))
    if not isinstance(channel, disnake.Thread):
        return may_open(channel, asker, age_restricted=restricted)
    if not may_open(channel.parent, asker, age_restricted=restricted):
        return False
    return not channel.is_private() or bool(await _joined([channel], asker))


def is_age_restricted(place: Any) -> bool:
    """Whether a channel, or the parent of a thread, is for adults only; what is not known is not."""
    home = place.parent if isinstance(place, disnake.Thread) else place
    return isinstance(home, WITH_POSTS) and home.is_nsfw()


async def _joined(threads: Iterable[disnake.Thread], asker: disnake.Member) -> list[disnake.Thread]:
    """The private threads that the asker is in, or may manage. Discord is asked, since it tells bots of nobody who leaves one."""
    managed = [thread for thread in threads if thread.permissions_for(asker).manage_threads]
    others = sorted((thread for thread in threads if thread not in managed), key=lambda thread: thread.id, reverse=True)
    asked = others[:MOST_PRIVATE_THREADS]
    known = await asyncio.gather(*(_is_in(thread, asker) for thread in asked))
    return [*managed, *(thread for thread, is_in in zip(asked, known, strict=True) if is_in)]


async def _is_in(thread: disnake.Thread, asker: disnake.Member) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await thread.fetch_member(asker.id)
    except disnake.NotFound:
        return False
    except (disnake.HTTPException, aiohttp.ClientError, TimeoutError, OSError) as error:
        log.info("a private thread is left out of an answer", thread=thread.id, error=type(error).__name__)
        return False
    return True


def _home(guild: disnake.Guild, place: Any) -> Any:
    """The channel whose permissions hold in a place; None where it is not known. What an interaction says of it lacks them."""
    return guild.get_channel(place.parent_id if isinstance(place, disnake.Thread) else place.id)


def _ids(channels: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(channel.id) for channel in channels)
