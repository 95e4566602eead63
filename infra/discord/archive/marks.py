"""High-water marks: up to which message every image of a channel is recorded, so that what was missed can be read again.

What was deleted a moment ago: a page of history that was read just before must not bring it back.

Who asked that their earlier posts stay out: at hand without waiting, since every post is checked.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import structlog

from contracts.errors import Unavailable
from contracts.events import Fact, ImagePosted
from contracts.ports import State
from contracts.state import Forgotten, Mark, amend
from contracts.subjects import FORGOTTEN, MARKS, forgotten_key, mark_key
from infra.discord.archive.removal_facts import is_embedded
from infra.tasks import end_if_cancelled

log = structlog.get_logger()

SAVED_EVERY_S = 1.0

Place = tuple[str, str]
"""Guild and channel."""

KEPT = 20_000

V = TypeVar("V")


class Marks:
    """A mark moves with what is heard only while its channel is open: nothing of it is missing since the session began.

    Every call about what was recorded comes through the recorder's queue, in the order of the log. `unreadable` are the channels
    whose history the bot may not read.
    """

    def __init__(self, state: State, now: Callable[[], datetime], *, saved_every_s: float = SAVED_EVERY_S) -> None:
        self._state = state
        self._now = now
        self._saved_every_s = saved_every_s
        self._marks: dict[Place, Mark] = {}
        self._open: set[Place] = set()
        self._heard: dict[Place, int] = {}
        self._lost: set[Place] = set()
        self._unsaved: dict[Place, None] = {}
        self._changed = asyncio.Event()
        self.unreadable: set[Place] = set()

    async def load(self) -> None:
        """Read the marks of every channel. Raises Unavailable."""
        stored = await self._state.under(MARKS)
        for key, value in stored.items():
            _, guild_id, channel_id = key.split(".")
            self._marks[guild_id, channel_id] = Mark.model_validate_json(value)

    def of(self, place: Place) -> Mark | None:
        """A channel's mark, None where it never had one."""
        return self._marks.get(place)

    def of_guild(self, guild_id: str) -> Mapping[str, Mark]:
        """The marks of a guild by channel."""
        return {channel: mark for (guild, channel), mark in self._marks.items() if guild == guild_id}

    def guilds(self) -> set[str]:
        """The guilds that have marks."""
        return {guild for guild, _ in self._marks}

    def newest(self, guild_id: str) -> int:
        """The newest message of a guild that a mark names: what began after it was never heard of. 0 where there is none."""
        return max((int(mark.message_id) for mark in self.of_guild(guild_id).values()), default=0)

    def close_all(self) -> None:
        """A session begins: what was posted before it may be missing everywhere."""
        self._open.clear()
        self._heard.clear()

    def is_open(self, place: Place) -> bool:
        """Whether nothing of the channel is missing."""
        return place in self._open

    def heard(self, place: Place, message_id: int) -> None:
        """A message that came by itself is recorded."""
        self._heard[place] = max(message_id, self._heard.get(place, 0))
        if place in self._open:
            self._advance(place, message_id)

    def read(self, place: Place, message_id: int) -> None:
        """Everything up to a message is recorded, since history was read that far."""
        if place not in self._lost:
            self._advance(place, message_id, heard=False)

    def start_over(self, place: Place) -> None:
        """The channel is about to be read from its mark: what was lost after it comes again."""
        self._lost.discard(place)
        self.unreadable.discard(place)

    def open(self, place: Place) -> None:
        """Nothing of the channel is missing any more, unless a post was lost: then it stays closed until it is read again."""
        if place not in self._lost:
            self._open.add(place)
            self._advance(place, self._heard.get(place, 0))

    def lose(self, fact: Fact) -> None:
        """A post could not be recorded: the mark of its channel stays before it."""
        if isinstance(fact, ImagePosted):
            place = (fact.guild_id, fact.channel_id)
            self._lost.add(place)
            self._open.discard(place)

    def drop(self, place: Place) -> None:
        """The channel is gone."""
        self._marks.pop(place, None)
        self._open.discard(place)
        self._heard.pop(place, None)
        self.unreadable.discard(place)
        self._save_soon(place)

    async def run(self) -> None:
        """Save what changed, about once a second, until cancelled."""
        while True:
            await self._changed.wait()
            try:
                await self.save()
            except Unavailable as outage:
                log.warning("marks are not saved", error=str(outage))
            end_if_cancelled()
            await asyncio.sleep(self._saved_every_s)

    async def save(self) -> None:
        """Write every mark that changed, those that changed first coming first. Raises Unavailable; the rest stays unsaved."""
        self._changed.clear()
        for place in list(self._unsaved):
            del self._unsaved[place]
            try:
                await self._write(place)
            except BaseException:
                self._save_soon(place)
                raise

    async def _write(self, place: Place) -> None:
        mark = self._marks.get(place)
        if mark is None:
            await self._state.delete(mark_key(*place))
        else:
            await self._state.put(mark_key(*place), mark.model_dump_json().encode())

    def _advance(self, place: Place, message_id: int, *, heard: bool = True) -> None:
        known = self._marks.get(place)
        furthest = max(message_id, int(known.message_id) if known else 0)
        self._marks[place] = Mark(message_id=str(furthest), heard_at=known.heard_at if known and not heard else self._now())
        self._save_soon(place)

    def _save_soon(self, place: Place) -> None:
        self._unsaved[place] = None
        self._changed.set()


class Recently:
    """Remembers the latest deletions, in memory: a page of history is worked on long before this many follow."""

    def __init__(self, kept: int = KEPT) -> None:
        self._attached: _Latest[frozenset[str] | None] = _Latest(kept)
        self._channels: _Latest[None] = _Latest(kept)

    def deleted(self, message_id: int | str) -> None:
        """A message is gone."""
        self._attached.put(str(message_id), None)

    def edited(self, message_id: int | str, attached: Collection[str]) -> None:
        """These attachments are left of a message."""
        self._attached.put(str(message_id), frozenset(attached))

    def channel_deleted(self, channel_id: int | str) -> None:
        """A channel or thread is gone with all that was in it. A thread may have the id of the message that began it."""
        self._channels.put(str(channel_id), None)

    def still_there(self, posts: Sequence[ImagePosted]) -> list[ImagePosted]:
        """The images that were not deleted meanwhile."""
        return [post for post in posts if self._is_left(post)]

    def _is_left(self, post: ImagePosted) -> bool:
        if post.channel_id in self._channels or post.audience in self._channels:
            return False
        if post.message_id not in self._attached:
            return True
        attached = self._attached[post.message_id]
        return attached is not None and (is_embedded(post.image_id) or post.image_id in attached)


class _Latest(OrderedDict[str, V]):
    """A dictionary of the last `kept` keys that were put in."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def put(self, key: str, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._kept:
            self.popitem(last=False)


class Forgetting:
    """Loaded once, then kept in step with what is stored: this process alone writes it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._until: dict[tuple[str, str], datetime] = {}

    async def load(self) -> None:
        """Read whom every guild has forgotten. Raises Unavailable."""
        stored = await self._state.under(FORGOTTEN)
        for key, value in stored.items():
            _, guild_id, person_id = key.split(".")
            self._until[guild_id, person_id] = Forgotten.model_validate_json(value).until

    def covers(self, guild_id: int | str, author_id: int | str, posted_at: datetime) -> bool:
        """Whether a post is from before the moment up to which its author wants to be forgotten."""
        until = self._until.get((str(guild_id), str(author_id)))
        return until is not None and posted_at <= until

    async def forget(self, guild_id: int | str, person_id: int | str, until: datetime) -> None:
        """Keep a person's posts up to a moment out from now on; a known later moment stays. Raises Unavailable."""

        def later(stored: Forgotten | None) -> Forgotten:
            return Forgotten(until=until if stored is None else max(until, stored.until))

        changed = await amend(self._state, forgotten_key(str(guild_id), str(person_id)), Forgotten, later)
        self._until[str(guild_id), str(person_id)] = changed.until
