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
from infra.discord.answers.webhook import own_webhook_adapter
from infra.discord.ask.audience import list_readable_channels
from infra.discord.ask.parse import QueryPicture
from infra.discord.cogs.errors import AnyInteraction, format_error, interaction_reference, report_errors
from infra.discord.services import Services
from infra.discord.translate import query_from_interaction, require_guild_member
from infra.discord.wording import localize

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InteractionContext:
    """`locale` is the asker's own where they alone see the answer, the guild's where it is for all."""

    interaction: AnyInteraction
    guild: disnake.Guild
    asker: disnake.Member
    private: bool
    locale: str

    @property
    def origin(self) -> Origin:
        """What the facts of this interaction are recorded with."""
        return Origin(interaction_reference(self.interaction))

    async def channels(self) -> tuple[str, ...]:
        """What the answer may show, now."""
        place: Any = self.interaction.channel
        return await list_readable_channels(self.guild, self.asker, place, seen_by_all=not self.private)


@contextmanager
def interaction_scope(interaction: AnyInteraction) -> Iterator[None]:
    """Everything that is logged inside bears the interaction's reference, and disnake keeps nothing of it."""
    with own_webhook_adapter(), structlog.contextvars.bound_contextvars(correlation_id=interaction_reference(interaction)):
        yield


@asynccontextmanager
async def button_scope(interaction: AnyInteraction) -> AsyncIterator[None]:
    """The same around the listener of a button, whose failures are told as well."""
    async with report_errors(interaction):
        with interaction_scope(interaction):
            yield


def build_context(interaction: AnyInteraction, services: Services, *, private: bool | None = None) -> InteractionContext:
    """The circumstances of a command or a press; None leaves it to the guild who sees the answer. Raises MapSeekError elsewhere."""
    guild, asker = require_guild_member(interaction)
    settings = services.guilds.get(guild.id)
    alone = settings.private_answers if private is None else private
    own, common = str(interaction.locale), settings.locale or str(guild.preferred_locale)
    return InteractionContext(interaction, guild, asker, alone, own if alone else common)


@contextmanager
def reserve_search(context: InteractionContext, services: Services) -> Iterator[None]:
    """Count one search against the quotas of member and guild; what fails inside is no longer under way.

    Raises MapSeekError, with the time to wait, when there is none left.
    """
    now = services.ports.now().timestamp()
    guild_id, member_id, search_id = str(context.guild.id), str(context.asker.id), str(context.interaction.id)
    settings = services.guilds.get(guild_id)
    wait = services.quotas.wait(guild_id, member_id, settings, now)
    if wait:
        raise user_error(context, "asking-too-many-searches", when=_relative(now + wait))
    services.quotas.begin(guild_id, member_id, [search_id], settings, now)
    try:
        yield
    except BaseException:
        services.quotas.finish(guild_id, search_id, member_id)
        raise


def check_press_quota(context: InteractionContext, services: Services) -> None:
    """Presses cost no search, but there may not be too many. Raises MapSeekError, with the time to wait."""
    now = services.ports.now().timestamp()
    wait = services.quotas.charge_press(str(context.guild.id), str(context.asker.id), now)
    if wait:
        raise user_error(context, "asking-too-many-presses", when=_relative(now + wait))


def user_error(context: InteractionContext, message: str, **values: Any) -> MapSeekError:
    """The error that says a message to the asker, in their language."""
    return MapSeekError(localize(str(context.interaction.locale), message, **values))


def _relative(moment: float) -> str:
    """A moment as Discord counts down to it."""
    return f"<t:{math.ceil(moment)}:R>"


async def request_searches(context: InteractionContext, services: Services, pictures: list[QueryPicture]) -> None:
    """Record a question about each picture. The interaction must be deferred, and its first picture admitted.

    The further ones may exceed what the asker has left; then their next question waits. Raises Unavailable when the first could not
    be recorded.
    """
    guild_id, member_id = str(context.guild.id), str(context.asker.id)
    first = str(context.interaction.id)
    further = [f"{first}-{number}" for number in range(2, len(pictures) + 1)]
    if further:
        settings, now = services.guilds.get(guild_id), services.ports.now().timestamp()
        services.quotas.begin(guild_id, member_id, further, settings, now)
    unrecorded = set(further)
    try:
        channels = await context.channels()
        for number, (search_id, picture) in enumerate(zip([first, *further], pictures, strict=True), start=1):
            if await _request_search(context, services, picture, search_id, channels, number, len(pictures)):
                unrecorded.discard(search_id)
    finally:
        for search_id in unrecorded:
            services.quotas.finish(guild_id, search_id, member_id)


async def _request_search(
    context: InteractionContext,
    services: Services,
    picture: QueryPicture,
    search_id: str,
    channels: tuple[str, ...],
    number: int,
    count: int,
) -> bool:
    """Make room for the answer and record the question; False when that failed and the room tells why."""
    interaction, message = context.interaction, None
    waiting = localize(context.locale, "asking-picture", number=number, count=count)
    if number > 1:
        message = await interaction.followup.send(waiting, ephemeral=context.private, wait=True)
    elif count > 1:
        await interaction.edit_original_response(waiting)  # the next message would take the place of one that still waits
    query = query_from_interaction(
        interaction, channels, locale=context.locale, private=context.private, message_id=message.id if message else None
    )
    fact = SearchRequested(
        guild_id=str(context.guild.id), search_id=search_id, question=query, filename=picture.filename, source=picture.source
    )
    try:
        await services.ports.journal.record(fact, context.origin)
    except Unavailable as outage:
        if message is None:
            raise
        log.warning("search_not_recorded", search_id=search_id, error=str(outage))
        await message.edit(format_error(outage, context.locale, interaction_reference(interaction)))
        return False
    log.info("search_requested", guild_id=fact.guild_id, search_id=search_id)
    return True
