"""The way of every message into the log, and which channels are watched.

The owner of the installation names channels, and so do the managers of a guild.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import disnake
from disnake.ext import commands

from contracts.envelope import Origin
from contracts.events import Fact, ImagePosted
from contracts.ports import UnreadableMessages
from contracts.state import GuildSettings
from infra.discord.archive.changes import is_own_attachment, list_changes
from infra.discord.pictures import DiscordPayload, PostedMessage, UnreadableMessage, find_message_id, read_message
from infra.discord.services import Services
from infra.discord.translate import parent_of_public_thread, posts_from_message
from infra.discord.wording import localize

TYPES_WITH_MESSAGES = (disnake.TextChannel, disnake.VoiceChannel, disnake.StageChannel, disnake.Thread)

ALL_CHANNELS = "all"
MAX_LISTED_CHANNELS = 60
"""The most channels named in one message, which holds at most 2,000 characters."""


class Intake:
    """Records what messages show, whether they are live, edited, caught up, back-filled or scanned again.

    It leaves out the bot's own posts, posts of members who asked to be forgotten, and posts that were deleted a moment ago. A
    message that cannot be read is kept as a dead letter. Nothing here waits: all goes through the recorder's queue.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    def enqueue(self, channel: Any, payloads: Iterable[DiscordPayload], read_at: float) -> int:
        """Record the pictures of messages of a channel, watched or not, and return their number.

        `read_at`: when the payloads were requested. The log is asked first only about messages that it may know in another form.
        """
        count = 0
        for payload in payloads:
            message = self._read(channel, payload, read_at)
            if message is None:
                continue
            posts = posts_from_message(message, channel)
            count += len(posts)
            if message.edited or not all(is_own_attachment(post.image_id) for post in posts):
                if posts:
                    self._compare(message, channel, posts)
                continue
            for post in posts:
                self._services.recorder.add(post, build_origin(message.id))
        return count

    def update(
        self,
        channel: Any,
        payload: DiscordPayload,
        read_at: float,
        *,
        edited: bool = False,
        is_known: bool = True,
        known_only: bool = False,
    ) -> None:
        """Bring the log to what a message shows now: record what is new, hide what is gone.

        `edited`: the payload tells of an edit that happened just now. If the log has no image of the message (not `is_known`) and
        it shows no picture, the log is not asked. With `known_only`, and in a channel that is not watched, only pictures that the
        log knows count.
        """
        is_watched = is_watched_channel(self._services, channel)
        message = self._read(channel, payload, read_at, keep=is_watched)
        if message is None:
            return
        if edited:
            self._services.recent_changes.note_edit(message)
        if message.pictures or is_known:
            self._compare(message, channel, posts_from_message(message, channel), known_only=known_only or not is_watched)

    def _read(self, channel: Any, payload: DiscordPayload, read_at: float, *, keep: bool = True) -> PostedMessage | None:
        """Read a message; None if it is not archived, or cannot be read. Then it is kept as a dead letter, if `keep`."""
        try:
            message = read_message(payload, read_at=read_at)
            posts_from_message(message, channel)
        except UnreadableMessage as error:
            if keep:
                self._keep_unreadable(channel, payload, error)
            return None
        if self._bot.get_guild(channel.guild.id) is None or message.author.id == str(self._bot.user.id):
            return None
        if self._services.forgotten_members.covers(channel.guild.id, message.author.id, disnake.utils.snowflake_time(message.id)):
            return None
        if self._services.recent_changes.covers_channel(channel.id, parent_of_public_thread(channel)):
            return None
        return self._services.recent_changes.choose_newest(message)

    def _compare(self, message: PostedMessage, channel: Any, posts: Sequence[ImagePosted], *, known_only: bool = False) -> None:
        """Ask the log what it knows of a message when everything before is recorded, and record the difference."""
        ports = self._services.ports

        async def find() -> Sequence[Fact]:
            known = await ports.posts.read_message(str(channel.guild.id), str(message.id))
            changes = list_changes(message, posts, known, ports.now())
            return [fact for fact in changes if not (known_only and isinstance(fact, ImagePosted))]

        self._services.recorder.add_lookup(find, build_origin(message.id), about=next(iter(posts), None))

    def _keep_unreadable(self, channel: Any, payload: DiscordPayload, error: UnreadableMessage) -> None:
        message_id = find_message_id(payload)
        if self._services.recent_changes.is_deleted(message_id):
            return

        async def keep() -> Sequence[Fact]:
            await keep_unreadable(self._services.ports.unreadable_messages, channel, payload, error)
            return ()

        self._services.recorder.add_lookup(keep, build_origin(message_id))


async def keep_unreadable(store: UnreadableMessages, channel: Any, payload: DiscordPayload, error: UnreadableMessage) -> None:
    """Keep a message that cannot be read as a dead letter. Raises Unavailable."""
    await store.keep(
        str(channel.guild.id),
        str(channel.id),
        str(find_message_id(payload)),
        payload,
        str(error),
        error,
        thread_of=parent_of_public_thread(channel),
    )


def build_origin(message_id: int) -> Origin:
    """Return the origin of the facts about a message."""
    return Origin(correlation_id=f"message-{message_id}")


def is_listed(channel: Any, channels: frozenset[str] | None) -> bool:
    """Tell whether a channel, its category or, for a thread, its parent is in the list. None and `all` mean every channel."""
    if channels is None or ALL_CHANNELS in channels:
        return True
    parent = channel.parent if isinstance(channel, disnake.Thread) else None
    parent_id = channel.parent_id if isinstance(channel, disnake.Thread) else None
    ids = (channel.id, parent_id, getattr(parent or channel, "category_id", None))
    return not channels.isdisjoint(str(known) for known in ids if known is not None)


def is_watched_channel(services: Services, channel: Any) -> bool:
    """Tell whether posts in a guild's channel or thread are archived: the owner of the installation or a manager chose it."""
    if is_listed(channel, services.watched):
        return True
    guild = getattr(channel, "guild", None)
    return guild is not None and is_listed(channel, frozenset(services.guilds.get(guild.id).watched))


def with_watched(settings: GuildSettings, channel_id: int) -> GuildSettings:
    """Return the settings with one more watched channel."""
    return settings.model_copy(update={"watched": tuple(dict.fromkeys((*settings.watched, str(channel_id))))})


def without_watched(settings: GuildSettings, channel_id: int) -> GuildSettings:
    """Return the settings without a watched channel."""
    return settings.model_copy(update={"watched": tuple(each for each in settings.watched if each != str(channel_id))})


def render_watched_channels(services: Services, guild: disnake.Guild, locale: str) -> str:
    """Return a text that names the watched channels of a guild, those of the owner and those of the managers."""
    owners = services.watched
    if owners is None or ALL_CHANNELS in owners:
        return localize(locale, "archive-watching-all")
    named = [str(each.id) for each in (*guild.channels, *guild.threads) if str(each.id) in owners]
    places = list(dict.fromkeys((*named, *services.guilds.get(guild.id).watched)))
    if not places:
        return localize(locale, "archive-watching-none")
    shown = " ".join(f"<#{each}>" for each in places[:MAX_LISTED_CHANNELS])
    return localize(locale, "archive-watching", channels=shown, more=max(0, len(places) - MAX_LISTED_CHANNELS))
