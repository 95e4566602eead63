"""Asking about pictures: one question each, the first answered in the interaction's own answer, the others in messages after it.

The circumstances of a question: who asks, where, in which language, and who sees the answer.
"""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import disnake
import structlog

from contracts.envelope import Origin
from contracts.errors import MapSeekError, Unavailable
from contracts.events import SearchRequested
from infra.discord.answers.webhook import forgetful
from infra.discord.ask.audience import readable_channels
from infra.discord.ask.parse import Picture
from infra.discord.cogs.errors import Interaction, reference_of, telling_failures, worded
from infra.discord.services import Services
from infra.discord.translate import asked_in, question_of
from infra.discord.wording import say

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Occasion:
    """`locale` is the asker's own where they alone see the answer, the guild's where it is for all."""

    interaction: Interaction
    guild: disnake.Guild
    asker: disnake.Member
    private: bool
    locale: str

    @property
    def origin(self) -> Origin:
        """What the facts of this interaction are recorded with."""
        return Origin(reference_of(self.interaction))

    async def channels(self) -> tuple[str, ...]:
        """What the answer may show, now."""
        place: Any = self.interaction.channel
        return await readable_channels(self.guild, self.asker, place, seen_by_all=not self.private)


@contextmanager
def interacting(interaction: Interaction) -> Iterator[None]:
    """Everything that is logged inside bears the interaction's reference, and disnake keeps nothing of it."""
    with forgetful(), structlog.contextvars.bound_contextvars(correlation_id=reference_of(interaction)):
        yield


@asynccontextmanager
async def pressing(interaction: Interaction) -> AsyncIterator[None]:
    """The same around the listener of a button, whose failures are told as well."""
    async with telling_failures(interaction):
        with interacting(interaction):
            yield


def occasion_of(interaction: Interaction, services: Services, *, private: bool | None = None) -> Occasion:
    """The circumstances of a command or a press; None leaves it to the guild who sees the answer. Raises MapSeekError elsewhere."""
    guild, asker = asked_in(interaction)
    settings = services.guilds.of(guild.id)
    alone = settings.private_answers if private is None else private
    own, common = str(interaction.locale), settings.locale or str(guild.preferred_locale)
    return Occasion(interaction, guild, asker, alone, own if alone else common)


@contextmanager
def admitted(occasion: Occasion, services: Services) -> Iterator[None]:
    """Count one search against the quotas of member and guild; what fails inside is no longer under way.

    Raises MapSeekError, with the time to wait, when there is none left.
    """
    now = services.ports.now().timestamp()
    guild_id, member_id, search_id = str(occasion.guild.id), str(occasion.asker.id), str(occasion.interaction.id)
    settings = services.guilds.of(guild_id)
    wait = services.quotas.wait(guild_id, member_id, settings, now)
    if wait:
        raise refused(occasion, "asking-too-many-searches", when=_relative(now + wait))
    services.quotas.begin(guild_id, member_id, [search_id], settings, now)
    try:
        yield
    except BaseException:
        services.quotas.finished(guild_id, search_id, member_id)
        raise


def admit_press(occasion: Occasion, services: Services) -> None:
    """Presses cost no search, but there may not be too many. Raises MapSeekError, with the time to wait."""
    now = services.ports.now().timestamp()
    wait = services.quotas.turn(str(occasion.guild.id), str(occasion.asker.id), now)
    if wait:
        raise refused(occasion, "asking-too-many-presses", when=_relative(now + wait))


def refused(occasion: Occasion, message: str, **values: Any) -> MapSeekError:
    """The error that says a message to the asker, in their language."""
    return MapSeekError(say(str(occasion.interaction.locale), message, **values))


def _relative(moment: float) -> str:
    """A moment as Discord counts down to it."""
    return f"<t:{math.ceil(moment)}:R>"


async def ask_about(occasion: Occasion, services: Services, pictures: list[Picture]) -> None:
    """Record a question about each picture. The interaction must be deferred, and its first picture admitted.

    The further ones may exceed what the asker has left; then their next question waits. Raises Unavailable when the first could not
    be recorded.
    """
    guild_id, member_id = str(occasion.guild.id), str(occasion.asker.id)
    first = str(occasion.interaction.id)
    further = [f"{first}-{number}" for number in range(2, len(pictures) + 1)]
    if further:
        settings, now = services.guilds.of(guild_id), services.ports.now().timestamp()
        services.quotas.begin(guild_id, member_id, further, settings, now)
    unasked = set(further)
    try:
        channels = await occasion.channels()
        for number, (search_id, picture) in enumerate(zip([first, *further], pictures, strict=True), start=1):
            if await _ask(occasion, services, picture, search_id, channels, number, len(pictures)):
                unasked.discard(search_id)
    finally:
        for search_id in unasked:
            services.quotas.finished(guild_id, search_id, member_id)


async def _ask(
    occasion: Occasion, services: Services, picture: Picture, search_id: str, channels: tuple[str, ...], number: int, count: int
) -> bool:
    """Make room for the answer and record the question; False when that failed and the room tells why."""
    interaction, message = occasion.interaction, None
    waiting = say(occasion.locale, "asking-picture", number=number, count=count)
    if number > 1:
        message = await interaction.followup.send(waiting, ephemeral=occasion.private, wait=True)
    elif count > 1:
        await interaction.edit_original_response(waiting)  # the next message would take the place of one that still waits
    question = question_of(
        interaction, channels, locale=occasion.locale, private=occasion.private, message_id=message.id if message else None
    )
    fact = SearchRequested(
        guild_id=str(occasion.guild.id), search_id=search_id, question=question, filename=picture.filename, source=picture.source
    )
    try:
        await services.ports.journal.record(fact, occasion.origin)
    except Unavailable as outage:
        if message is None:
            raise
        log.warning("question not recorded: the log is unreachable", search=search_id, error=str(outage))
        await message.edit(worded(outage, occasion.locale, reference_of(interaction)))
        return False
    log.info("search requested", guild=fact.guild_id, search=search_id)
    return True
