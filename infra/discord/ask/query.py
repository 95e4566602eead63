"""Starts searches: the context of an interaction, the check of quotas, and the facts that request searches."""

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
    """Who asks, where, in which language, and who sees the answer.

    `locale` is the asker's own if only they see the answer, and the guild's if everyone sees it.
    """

    interaction: AnyInteraction
    guild: disnake.Guild
    asker: disnake.Member
    private: bool
    locale: str

    @property
    def origin(self) -> Origin:
        """The origin of the facts that this interaction causes."""
        return Origin(interaction_reference(self.interaction))

    async def list_channels(self) -> tuple[str, ...]:
        """Return the ids of the channels that the answer may show now."""
        place: Any = self.interaction.channel
        return await list_readable_channels(self.guild, self.asker, place, seen_by_all=not self.private)


@contextmanager
def interaction_scope(interaction: AnyInteraction) -> Iterator[None]:
    """Bind the interaction's reference to everything logged inside, and let disnake keep nothing of the interaction."""
    with own_webhook_adapter(), structlog.contextvars.bound_contextvars(correlation_id=interaction_reference(interaction)):
        yield


@asynccontextmanager
async def button_scope(interaction: AnyInteraction) -> AsyncIterator[None]:
    """Do the same as `interaction_scope` around the listener of a button, and also report its errors."""
    async with report_errors(interaction):
        with interaction_scope(interaction):
            yield


def build_context(interaction: AnyInteraction, services: Services, *, private: bool | None = None) -> InteractionContext:
    """Build the context of a command or a press. If `private` is None, the guild's settings decide who sees the answer.

    Raises MapSeekError outside a guild of the bot.
    """
    guild, asker = require_guild_member(interaction)
    settings = services.guilds.get(guild.id)
    alone = settings.private_answers if private is None else private
    own, common = str(interaction.locale), settings.locale or str(guild.preferred_locale)
    return InteractionContext(interaction, guild, asker, alone, own if alone else common)


@contextmanager
def reserve_search(context: InteractionContext, services: Services) -> Iterator[None]:
    """Count one search against the quotas of the member and the guild. An error inside ends the search.

    Raises MapSeekError, with the time to wait, if a quota is used up.
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
    """Count one press of a button, which costs no search. Raises MapSeekError, with the time to wait, if there are too many."""
    now = services.ports.now().timestamp()
    wait = services.quotas.charge_press(str(context.guild.id), str(context.asker.id), now)
    if wait:
        raise user_error(context, "asking-too-many-presses", when=_relative(now + wait))


def user_error(context: InteractionContext, message: str, **values: Any) -> MapSeekError:
    """Build the error that tells the asker a message in their language."""
    return MapSeekError(localize(str(context.interaction.locale), message, **values))


def _relative(moment: float) -> str:
    """Format a moment so that Discord counts down to it."""
    return f"<t:{math.ceil(moment)}:R>"


async def request_searches(context: InteractionContext, services: Services, pictures: list[QueryPicture]) -> None:
    """Record a search for each picture.

    The interaction must be deferred, and its first search must be reserved. Further pictures may exceed the asker's quota; then
    their next search waits. The first is answered in the interaction's own response, the others in follow-up messages. Raises
    Unavailable if the first search could not be recorded.
    """
    guild_id, member_id = str(context.guild.id), str(context.asker.id)
    first = str(context.interaction.id)
    further = [f"{first}-{number}" for number in range(2, len(pictures) + 1)]
    if further:
        settings, now = services.guilds.get(guild_id), services.ports.now().timestamp()
        services.quotas.begin(guild_id, member_id, further, settings, now)
    unrecorded = set(further)
    try:
        channels = await context.list_channels()
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
    """Prepare the message for the answer and record the search.

    Return False if a further search could not be recorded; then its message says so.
    """
    interaction, message = context.interaction, None
    waiting = localize(context.locale, "asking-picture", number=number, count=count)
    if number > 1:
        message = await interaction.followup.send(waiting, ephemeral=context.private, wait=True)
    elif count > 1:
        # Without this the next message would take the place of the response, which still waits.
        await interaction.edit_original_response(waiting)
    query = query_from_interaction(
        interaction, channels, locale=context.locale, private=context.private, message_id=message.id if message else None
    )
    fact = SearchRequested(
        guild_id=str(context.guild.id),
        search_id=search_id,
        question=query,
        filename=picture.filename,
        source=picture.source,
        spoiler=picture.spoiler,
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
