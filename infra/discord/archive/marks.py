"""What the gateway remembers of channels and members: high-water marks, recent changes, and members who asked to be forgotten."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

import structlog

from contracts.errors import Unavailable
from contracts.events import Fact, ImagePosted
from contracts.ports import StateStore
from contracts.state import Backfill, ForgetRequest, HighWaterMark, update_document
from contracts.subjects import BACKFILLS, FORGOTTEN, MARKS, backfills_prefix, forgotten_key, mark_key
from infra.discord.pictures import PostedMessage
from infra.tasks import raise_if_cancelled

log = structlog.get_logger()

SAVE_INTERVAL_S = 1.0

ChannelPlace = tuple[str, str]
"""Guild id and channel id."""

MAX_RECENT_CHANGES = 20_000

V = TypeVar("V")


class HighWaterMarks:
    """The high-water marks of all channels: up to which message every image of a channel is recorded.

    Catching up starts at the mark. Live messages move a mark only while its channel is complete, which means that nothing posted
    since the session began is missing. Every call about recorded messages comes through the recorder's queue, in the order of the
    log. `unreadable` holds the channels whose history the bot may not read.
    """

    def __init__(self, state: StateStore, now: Callable[[], datetime], *, save_interval_s: float = SAVE_INTERVAL_S) -> None:
        self._state = state
        self._now = now
        self._saved_every_s = save_interval_s
        self._marks: dict[ChannelPlace, HighWaterMark] = {}
        self._open: set[ChannelPlace] = set()
        self._live: dict[ChannelPlace, int] = {}
        self._lost: set[ChannelPlace] = set()
        self._unsaved: dict[ChannelPlace, None] = {}
        self._changed = asyncio.Event()
        self.unreadable: set[ChannelPlace] = set()

    async def load(self) -> None:
        """Read the marks of every channel. Raises Unavailable."""
        stored = await self._state.list_under(MARKS)
        for key, value in stored.items():
            _, guild_id, channel_id = key.split(".")
            self._marks[guild_id, channel_id] = HighWaterMark.model_validate_json(value)

    def get(self, place: ChannelPlace) -> HighWaterMark | None:
        """Return a channel's mark, None if it never had one."""
        return self._marks.get(place)

    def of_guild(self, guild_id: str) -> Mapping[str, HighWaterMark]:
        """Return the marks of a guild by channel id."""
        return {channel: mark for (guild, channel), mark in self._marks.items() if guild == guild_id}

    def guilds(self) -> set[str]:
        """Return the ids of the guilds that have marks."""
        return {guild for guild, _ in self._marks}

    def newest(self, guild_id: str) -> int:
        """Return the newest message id among a guild's marks, 0 if there is none. Channels with a newer id are unknown."""
        return max((int(mark.message_id) for mark in self.of_guild(guild_id).values()), default=0)

    def set_all_incomplete(self) -> None:
        """Begin a session: messages posted before it may be missing in every channel."""
        self._open.clear()
        self._live.clear()

    def is_complete(self, place: ChannelPlace) -> bool:
        """Tell whether no message of the channel is missing."""
        return place in self._open

    def advance_live(self, place: ChannelPlace, message_id: int) -> None:
        """Note that a live message is recorded."""
        self._live[place] = max(message_id, self._live.get(place, 0))
        if place in self._open:
            self._advance(place, message_id)

    def advance_history(self, place: ChannelPlace, message_id: int) -> None:
        """Note that the history is recorded up to a message."""
        if place not in self._lost:
            self._advance(place, message_id, advance_live=False)

    def start_over(self, place: ChannelPlace) -> None:
        """Prepare to read the channel from its mark, which brings back messages that were lost after it."""
        self._lost.discard(place)
        self.unreadable.discard(place)

    def set_complete(self, place: ChannelPlace) -> None:
        """Note that no message of the channel is missing.

        If a post was lost, the channel stays incomplete until it is read again.
        """
        if place not in self._lost:
            self._open.add(place)
            self._advance(place, self._live.get(place, 0))

    def note_lost(self, fact: Fact) -> None:
        """Note that a post could not be recorded: the mark of its channel stays before it."""
        if isinstance(fact, ImagePosted):
            place = (fact.guild_id, fact.channel_id)
            self._lost.add(place)
            self._open.discard(place)

    def drop(self, place: ChannelPlace) -> None:
        """Remove the mark of a channel that is gone."""
        self._marks.pop(place, None)
        self._open.discard(place)
        self._live.pop(place, None)
        self.unreadable.discard(place)
        self._save_soon(place)

    async def run(self) -> None:
        """Save changed marks about once a second, until cancelled."""
        while True:
            await self._changed.wait()
            try:
                await self.save()
            except Unavailable as outage:
                log.warning("marks_not_saved", error=str(outage))
            raise_if_cancelled()
            await asyncio.sleep(self._saved_every_s)

    async def save(self) -> None:
        """Write every changed mark, oldest change first. Raises Unavailable; the marks not yet written stay unsaved."""
        self._changed.clear()
        for place in list(self._unsaved):
            del self._unsaved[place]
            try:
                await self._write(place)
            except BaseException:
                self._save_soon(place)
                raise

    async def _write(self, place: ChannelPlace) -> None:
        mark = self._marks.get(place)
        if mark is None:
            await self._state.delete(mark_key(*place))
        else:
            await self._state.put(mark_key(*place), mark.model_dump_json().encode())

    def _advance(self, place: ChannelPlace, message_id: int, *, advance_live: bool = True) -> None:
        known = self._marks.get(place)
        furthest = max(message_id, int(known.message_id) if known else 0)
        self._marks[place] = HighWaterMark(
            message_id=str(furthest),
            heard_at=known.heard_at if known and not advance_live else self._now(),
            since=known.since if known else str(furthest),
        )
        self._save_soon(place)

    def _save_soon(self, place: ChannelPlace) -> None:
        self._unsaved[place] = None
        self._changed.set()


async def read_filled(state: StateStore, guild_id: str | None = None) -> dict[ChannelPlace, int]:
    """Return after which message the finished back-fills of each channel began, in one guild or all. Raises Unavailable."""
    filled: dict[ChannelPlace, int] = {}
    for key, value in (await state.list_under(BACKFILLS if guild_id is None else backfills_prefix(guild_id))).items():
        backfill, guild = Backfill.model_validate_json(value), key.split(".")[1]
        for source in backfill.sources[: backfill.done]:
            filled[guild, source] = min(int(backfill.since), filled.get((guild, source), int(backfill.since)))
    return filled


class RecentChanges:
    """Remembers the latest edits and deletions in memory.

    A page of history that was requested before an edit or a deletion must not take it back. Such a page is recorded long before
    the memory is full. Moments (`read_at`) are those of `clock`, in seconds.
    """

    def __init__(self, kept: int = MAX_RECENT_CHANGES, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._messages: _Latest[PostedMessage | None] = _Latest(kept)
        self._channels: _Latest[None] = _Latest(kept)

    def note_message(self, message_id: int | str) -> None:
        """Note that a message was deleted."""
        self._messages.put(str(message_id), None)

    def note_edit(self, message: PostedMessage) -> None:
        """Note what a message shows after an edit."""
        if not self.is_deleted(message.id):
            self._messages.put(str(message.id), message)

    def note_channel(self, channel_id: int | str) -> None:
        """Note that a channel or thread was deleted with its messages.

        A thread may have the id of the message that it began with.
        """
        self._channels.put(str(channel_id), None)

    def is_deleted(self, message_id: int | str) -> bool:
        """Tell whether a message was deleted."""
        return str(message_id) in self._messages and self._messages[str(message_id)] is None

    def covers_channel(self, *channel_ids: int | str | None) -> bool:
        """Tell whether one of these channels was deleted."""
        return any(str(each) in self._channels for each in channel_ids)

    def choose_newest(self, message: PostedMessage) -> PostedMessage | None:
        """Return the message as it was last heard of: after a later edit, or None if it was deleted."""
        known = self._messages.get(str(message.id), message)
        return known if known is None or known.read_at > message.read_at else message


class _Latest(OrderedDict[str, V]):
    """A dictionary that keeps the last `kept` keys put in."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def put(self, key: str, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._kept:
            self.popitem(last=False)


class ForgottenMembers:
    """Who asked that their earlier posts stay out of the archive.

    It is in memory, since every post is checked. It is loaded once; only this process changes it.
    """

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._until: dict[tuple[str, str], datetime] = {}

    async def load(self) -> None:
        """Read the forgotten members of every guild. Raises Unavailable."""
        stored = await self._state.list_under(FORGOTTEN)
        for key, value in stored.items():
            _, guild_id, person_id = key.split(".")
            self._until[guild_id, person_id] = ForgetRequest.model_validate_json(value).until

    def covers(self, guild_id: int | str, author_id: int | str, posted_at: datetime) -> bool:
        """Tell whether a post is from before the moment up to which its author is forgotten."""
        until = self._until.get((str(guild_id), str(author_id)))
        return until is not None and posted_at <= until

    async def forget(self, guild_id: int | str, person_id: int | str, until: datetime) -> None:
        """Keep a member's posts up to a moment out of the archive. A later moment that is stored stays. Raises Unavailable."""

        def later(stored: ForgetRequest | None) -> ForgetRequest:
            return ForgetRequest(until=until if stored is None else max(until, stored.until))

        changed = await update_document(self._state, forgotten_key(str(guild_id), str(person_id)), ForgetRequest, later)
        self._until[str(guild_id), str(person_id)] = changed.until
