"""The circumstances of a question: who asks, where, in which language, and who sees the answer."""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import disnake
import structlog

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from infra.discord.answers.webhook import forgetful
from infra.discord.audience import readable_channels
from infra.discord.failures import Interaction, reference_of, telling_failures
from infra.discord.services import Services
from infra.discord.translate import asked_in
from infra.discord.wording import say


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
