"""Asking about pictures: one question each, the first answered in the interaction's own answer, the others in messages after it."""

import structlog

from contracts.errors import Unavailable
from contracts.events import SearchRequested
from infra.discord.asking.occasion import Occasion
from infra.discord.asking.pictures import Picture
from infra.discord.failures import reference_of, worded
from infra.discord.services import Services
from infra.discord.translate import question_of
from infra.discord.wording import say

log = structlog.get_logger()


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
