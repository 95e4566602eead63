"""What Discord shows against what the log has, by REST alone: a hundred messages with each request, and none read twice."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import disnake

from contracts.events import ImagePosted
from infra.discord.archive.history import NO_MESSAGES, PAGE, WITH_THREADS, Unreadable, archived_threads, may_read, page_after
from infra.discord.archive.intake import WITH_MESSAGES
from infra.discord.archive.removal_facts import is_embedded
from infra.discord.rest.guilds import channel_of, guild_of
from infra.discord.rest.login import RestLogin
from infra.discord.rest.watching import Known, Watching

READING = "for what was posted in a guild"
Messages = Mapping[int, Collection[str]]
"""The images that the log knows of in one channel, by message."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a stretch of a channel has and the log has not, and the other way round. Of messages the ids.

    `images` counts what it shows that is to be archived; `missed` are those that the log does not know, `gone` the ids of those
    that it knows and that are not shown; `edited` has the attachments that are left of a message. A channel that is `unreadable` or
    `vanished` has nothing to show, and a guild that the bot is not in has no channel either.
    """

    guild_id: str
    channel_id: str
    name: str = ""
    images: int = 0
    missed: Sequence[ImagePosted] = ()
    deleted: Sequence[int] = ()
    edited: Mapping[int, frozenset[str]] | None = None
    gone: Sequence[str] = ()
    unreadable: bool = False
    vanished: bool = False


async def differences(
    rest: RestLogin, bot: Any, watching: Watching, guild_id: str, known: Known, until: datetime, only: int | None = None
) -> AsyncIterator[Difference]:
    """A guild's differences, in one channel `only` if asked: one for every page that was read, and for what cannot be read.

    `bot` is the bot's account as Discord tells it; what was posted after `until` does not count. Raises Retry when Discord does
    not answer.
    """
    newest = disnake.utils.time_snowflake(until, high=True)
    try:
        async with rest.asking(READING) as client:
            guild = await guild_of(client, guild_id, bot)
    except (disnake.NotFound, disnake.Forbidden):
        yield Difference(guild_id, "", unreadable=True)
        return
    wanted = [only] if only is not None else [each.id for each in await _watched(rest, watching, guild, known)]
    for channel_id in dict.fromkeys([*wanted, *(known if only is None else ())]):
        try:
            async with rest.asking(READING) as client:
                channel = await channel_of(client, guild, str(channel_id))
        except disnake.NotFound:
            gone = [image for images in known.get(channel_id, {}).values() for image in images]
            yield Difference(guild_id, str(channel_id), gone=gone, vanished=True)
            continue
        except disnake.Forbidden:
            yield Difference(guild_id, str(channel_id), unreadable=True)
            continue
        async for difference in _of_channel(rest, watching, channel, known, newest, int(bot["id"])):
            yield difference


async def _watched(rest: RestLogin, watching: Watching, guild: disnake.Guild, known: Known) -> list[Any]:
    """The places that are watched, archived threads too where something may have been posted since their parent is watched."""
    places = [each for each in (*guild.channels, *guild.threads) if watching.watches(each)]
    for channel in [each for each in places if isinstance(each, WITH_THREADS) and may_read(each)]:
        begin = watching.begin(channel, known)
        if begin is not None:
            async with rest.asking("for the archived threads of a channel"):
                async for thread in archived_threads(channel, since=disnake.utils.snowflake_time(begin)):
                    guild._add_thread(thread)
                    places.append(thread)
    heard = (each for each in places if isinstance(each, WITH_MESSAGES))
    return [each for each in heard if watching.begin(each, known) is not None or not may_read(each)]


async def _of_channel(
    rest: RestLogin, watching: Watching, channel: Any, known: Known, until: int, bot_id: int
) -> AsyncIterator[Difference]:
    place, name = (str(channel.guild.id), str(channel.id)), f"#{channel.name}"
    begin = watching.begin(channel, known)
    if not may_read(channel):
        yield Difference(*place, name, unreadable=True)
        return
    if begin is None or isinstance(channel, NO_MESSAGES):
        return
    expected = watching.watches(channel)

    def images(message: disnake.Message) -> list[ImagePosted]:
        return watching.images(message, bot_id) if expected else []

    messages = known.get(channel.id, {})
    order, asked = sorted(messages), False
    try:
        while True:
            async with rest.asking("for a channel's history"):
                page = await page_after(channel, begin)
            end = min(page[-1].id, until) if len(page) == PAGE else until
            here = order[bisect_right(order, begin) : bisect_right(order, end)]
            difference = compared(
                place, [each for each in page if each.id <= until], {each: messages[each] for each in here}, images
            )
            if difference.deleted and not asked and not (asked := await _is_gone(rest, channel, difference.deleted[0])):
                raise Unreadable
            yield replace(difference, name=name)
            if end >= until:
                return
            begin = end
    except (Unreadable, disnake.Forbidden, disnake.NotFound):
        yield Difference(*place, name, unreadable=True)


async def _is_gone(rest: RestLogin, channel: Any, message_id: int) -> bool:
    """Ask for one message by itself: an empty history may mean that it may not be read."""
    try:
        async with rest.asking("for a message that its channel does not show"):
            await channel.fetch_message(message_id)
    except disnake.NotFound:
        return True
    return False


def compared(
    place: tuple[str, str],
    page: Sequence[disnake.Message],
    known: Messages,
    images: Callable[[disnake.Message], Sequence[ImagePosted]],
) -> Difference:
    """The difference between a page and what the log knows of the same stretch.

    Pictures of embeds come and go as Discord likes, so those are gone only with their message.
    """
    shown = {message.id: message for message in page}
    deleted = [message_id for message_id in known if message_id not in shown]
    gone = [image for message_id in deleted for image in known[message_id]]
    edited = {}
    for message in page:
        attached = frozenset(str(file.id) for file in message.attachments)
        dropped = [image for image in known.get(message.id, ()) if not is_embedded(image) and image not in attached]
        if dropped and not message.message_snapshots:
            edited[message.id] = attached
            gone += dropped
    posts = [post for message in page for post in images(message)]
    missed = [post for post in posts if post.image_id not in known.get(int(post.message_id), ())]
    return Difference(*place, "", len(posts), missed, deleted, edited, gone)
