"""What of a guild the log should have: the places that are watched, and each of them from which message on.

A place is recorded from the moment when it was first watched, which nobody noted; but its oldest known post, its mark and its
back-fills tell of it. What began later is recorded from its first message on.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import disnake

from contracts.events import ImagePosted
from contracts.ports import State
from contracts.state import Backfill
from contracts.subjects import BACKFILLS
from infra.discord.archive.history import place_of
from infra.discord.archive.intake import is_watched
from infra.discord.archive.marks import Forgetting, Marks
from infra.discord.services import Guilds
from infra.discord.translate import facts_of_message

Known = Mapping[int, Mapping[int, Collection[str]]]
"""The images that the log knows of, by channel and message."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What the gateway goes by, as it is stored. `filled` is where a finished back-fill of a place began, by guild and channel."""

    channels: frozenset[str]
    guilds: Guilds
    marks: Marks
    forgetting: Forgetting
    filled: Mapping[tuple[str, str], int]

    @property
    def known_guilds(self) -> set[str]:
        """The guilds that the gateway ever heard of something watched in."""
        return self.marks.guilds() | {guild for guild, _ in self.filled}

    def watches(self, channel: Any) -> bool:
        """Whether what is posted in a channel or thread is archived."""
        managers = frozenset(self.guilds.of(channel.guild.id).watched)
        return is_watched(channel, self.channels) or is_watched(channel, managers)

    def images(self, message: disnake.Message, bot_id: int) -> list[ImagePosted]:
        """The images of a message that are to be archived, as the gateway sees it."""
        if message.guild is None or message.author.id == bot_id:
            return []
        if self.forgetting.covers(message.guild.id, message.author.id, message.created_at):
            return []
        return facts_of_message(message)

    def begin(self, channel: Any, known: Known) -> int | None:
        """The message behind which everything of a watched place should be in the log; None for one that was never heard of."""
        begun = self._begin_of(channel, known)
        if begun is not None:
            return begun
        parent = channel.parent if isinstance(channel, disnake.Thread) else None
        before = self._first(channel.guild, known) if parent is None else self._begin_of(parent, known)
        return channel.id - 1 if before is not None and channel.id > before else None

    def _begin_of(self, channel: Any, known: Known) -> int | None:
        place, begins = place_of(channel), []
        if posts := known.get(channel.id):
            begins.append(min(posts) - 1)
        if (mark := self.marks.of(place)) is not None:
            begins.append(int(mark.message_id))
        if place in self.filled:
            begins.append(self.filled[place])
        return min(begins, default=None)

    def _first(self, guild: disnake.Guild, known: Known) -> int | None:
        """Where the guild's first channel begins."""
        begins = [self._begin_of(each, known) for each in (*guild.channels, *guild.threads)]
        return min((each for each in begins if each is not None), default=None)


async def read_watching(state: State, channels: frozenset[str], now: Callable[[], datetime]) -> Watching:
    """What is stored of it. Raises Unavailable."""
    guilds, marks, forgetting = Guilds(state), Marks(state, now), Forgetting(state)
    for stored in (guilds, marks, forgetting):
        await stored.load()
    filled: dict[tuple[str, str], int] = {}
    for key, value in (await state.under(BACKFILLS)).items():
        backfill, guild_id = Backfill.model_validate_json(value), key.split(".")[1]
        for source in backfill.sources[: backfill.done]:
            filled[guild_id, source] = min(int(backfill.since), filled.get((guild_id, source), int(backfill.since)))
    return Watching(channels, guilds, marks, forgetting, filled)
