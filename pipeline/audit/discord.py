"""Compare what was posted on Discord with what the log has: read every watched channel from where the bot first watched it."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from contracts.errors import MapSeekError, Retry, format_count
from contracts.ports import Posts, StateStore
from infra.discord.gateway import claim_archive
from infra.discord.rest.client import RestClient
from infra.discord.rest.compare import ChannelDifference, compare_guild, read_watch_state
from infra.discord.rest.permissions import fetch_bot, fetch_guild_id
from pipeline.audit.chain import ImageIds, PostedImages, RequestedRemovals
from pipeline.audit.gaps import Gap, unique
from stages import remove


async def compare_discord(
    rest: RestClient,
    state: StateStore,
    channels: frozenset[str],
    posts: Posts,
    posted: PostedImages,
    now: Callable[[], datetime],
    *,
    guild: str | None = None,
    channel: str | None = None,
) -> AsyncIterator[ChannelDifference]:
    """Yield the differences of all guilds, of one guild or of one channel, for messages that are older than this call.

    Raises MapSeekError if Discord does not answer or the token is another bot's, and Unavailable if the log does not answer.
    """
    until = now()
    try:
        bot = await _read_bot(rest)
        await claim_archive(state, str(bot["id"]))
        watching = await read_watch_state(state, channels, now)
        guilds = {guild} if guild is not None else posted.keys() | watching.known_guilds
        for guild_id in sorted(each for each in guilds if each.isdigit()):
            only = None if channel is None else int(channel)
            async for difference in compare_guild(rest, bot, watching, posts, guild_id, posted.get(guild_id, {}), until, only):
                yield difference
    except Retry as error:
        raise MapSeekError(f"{error}: try again later, or leave out Discord with --no-discord.") from None


async def find_guild_of_channel(rest: RestClient, posted: PostedImages, channel: str) -> str:
    """Return the guild of a channel, from the log or else from Discord. Raises MapSeekError if neither has the channel."""
    for guild_id, places in posted.items():
        if int(channel) in places:
            return guild_id
    try:
        async with rest.client_for("for a channel") as client:
            found = await fetch_guild_id(client, channel)
    except Retry as error:
        raise MapSeekError(f"{error}: try again later.") from None
    if found is None:
        raise MapSeekError(f"There is no channel {channel} in the log, and the bot sees none on Discord: check the id.")
    return found


async def _read_bot(rest: RestClient) -> Any:
    async with rest.client_for("who the bot is") as client:
        return await fetch_bot(client)


class DiscordFindings:
    """The differences that an audit found on Discord, by channel."""

    def __init__(self) -> None:
        self.images = 0
        self.names: dict[str, str] = {}
        self.guilds: dict[str, str] = {}
        self.missed: dict[str, list[str]] = {}
        self.gone: dict[str, list[str]] = {}
        self.shown_again: dict[str, list[str]] = {}
        self.unread: dict[str, int] = {}
        self.unreadable: list[str] = []

    def add(self, difference: ChannelDifference) -> None:
        """Add the differences of one page of a channel."""
        channel = difference.channel_id
        self.images += difference.images
        self.names[channel] = difference.name or channel
        self.guilds[channel] = difference.guild_id
        self.missed.setdefault(channel, []).extend(post.image_id for post in difference.missed)
        self.gone.setdefault(channel, []).extend(difference.gone)
        self.shown_again.setdefault(channel, []).extend(difference.shown_again)
        if difference.unread:
            self.unread[channel] = self.unread.get(channel, 0) + len(difference.unread)
        if difference.unreadable:
            self.unreadable.append(f"{difference.name} ({channel})" if channel else f"the whole guild {difference.guild_id}")

    @property
    def notes(self) -> list[str]:
        """Sentences about what could not be read."""
        unreadable = [f"Discord does not show {place}: grant the bot Read Message History there." for place in self.unreadable]
        return unreadable + [
            f"{format_count(count, 'message')} in {self.names[channel]} cannot be read: see `mapseek failures list --stage record`."
            for channel, count in self.unread.items()
        ]

    def find_gaps(self, posted: ImageIds, removed: ImageIds, removals: RequestedRemovals) -> list[Gap]:
        """Return the differences that are gaps, without those that were recorded or removed by now or are about to be removed."""
        found = []
        for channel, name in self.names.items():
            if missed := [each for each in self.missed[channel] if each not in posted and each not in removed]:
                what = f"on Discord in {name}, but not in the log"
                found.append(Gap("not-posted", what, tuple(missed), (_format_sync(channel),)))
            if again := [each for each in self.shown_again[channel] if each not in removed]:
                what = f"on Discord in {name}, but hidden in the log, or not marked there as it is now"
                found.append(Gap("hidden", what, tuple(again), (_format_sync(channel),)))
            gone = [each for each in self.gone[channel] if each not in removed and each not in removals.pending]
            found += self._find_gone(channel, gone, removals)
        return found

    def _find_gone(self, channel: str, gone: list[str], removals: RequestedRemovals) -> list[Gap]:
        """Return gaps for images that are gone from Discord.

        A request for removal is recorded only once. If the stage handled it and the image is still there, the request must be
        replayed: another request would change nothing.
        """
        what = f"in the log, but gone from {self.names[channel]} on Discord"
        buried = tuple(each for each in gone if each in removals.letters)
        handled = tuple(each for each in gone if each in removals.handled and each not in removals.letters)
        not_requested = tuple(each for each in gone if each not in removals.handled and each not in removals.letters)
        retries = unique(f"mapseek failures retry {removals.letters[each]}" for each in buried)
        again = f"mapseek replay --stage {remove.STAGE.name} --guild {self.guilds[channel]}"
        kinds = (
            Gap("gone", what, not_requested, (_format_sync(channel),)),
            Gap("gone-asked", f"{what}: their removal was requested, but they were not removed", handled, (again,)),
            Gap("gone-dead-letter", f"{what}: given up as dead letters", buried, retries),
        )
        return [gap for gap in kinds if gap.found]


def _format_sync(channel: str) -> str:
    return f"mapseek sync --channel {channel}"
