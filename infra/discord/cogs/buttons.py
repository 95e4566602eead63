"""The buttons under an answer: pages and votes. At each press it is checked again what the presser may do."""

from typing import Any, Literal, cast

import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import MessageInteraction

from contracts.errors import MapSeekError
from contracts.events import SearchBrowsed, SearchMatched, SearchVoted
from infra.discord.answers.buttons import ALERT, BACKFILL, BROWSE, CANCEL_ALERT, CUSTOM_ID_PREFIX, FORGET, VOTE, parse_custom_id
from infra.discord.ask.query import InteractionContext, build_context, button_scope, check_press_quota, user_error
from infra.discord.services import Services
from infra.discord.translate import person_from_user, query_from_interaction
from infra.discord.wording import localize

log = structlog.get_logger()

HANDLED_KINDS = frozenset({BROWSE, VOTE, ALERT, CANCEL_ALERT, BACKFILL, FORGET})
"""The buttons that some cog handles. Any other button of ours is from a version that is no longer supported."""
WHY_VIEW = "why"
ANSWER_VIEWS = ("piece", "posts", WHY_VIEW)
MAX_PAGE_NUMBER = 999


class AnswerButtons(commands.Cog):
    """Records page turns and votes. The page itself is sent by another process."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.Cog.listener()
    async def on_button_click(self, interaction: MessageInteraction[Any]) -> None:
        pressed = interaction.component.custom_id or ""
        async with button_scope(interaction):
            await self._handle_press(interaction, pressed)

    async def _handle_press(self, interaction: MessageInteraction[Any], pressed: str) -> None:
        if (browse := parse_custom_id(pressed, BROWSE, 5)) is not None:
            await self._browse(interaction, *browse)
        elif (vote := parse_custom_id(pressed, VOTE, 3)) is not None:
            await self._vote(interaction, *vote)
        elif is_outdated(pressed):
            raise MapSeekError(localize(str(interaction.locale), "asking-button-unknown"))

    async def _browse(
        self, interaction: MessageInteraction[Any], search_id: str, asker_id: str, view: str, piece: str, page: str
    ) -> None:
        """Change the asker's own answer if they press.

        Anyone else gets a copy that only they see, and so does a member who asks why.
        """
        own = str(interaction.author.id) == asker_id and view != WHY_VIEW
        private = interaction.message.flags.ephemeral or not own
        context = build_context(interaction, self._services, private=private)
        if view not in ANSWER_VIEWS or not _is_page_number(piece) or not _is_page_number(page):
            raise user_error(context, "asking-button-unknown")
        check_press_quota(context, self._services)
        await interaction.response.defer(with_message=not own, ephemeral=not own)
        query = query_from_interaction(interaction, await context.list_channels(), locale=context.locale, private=private)
        fact = SearchBrowsed(
            guild_id=str(context.guild.id),
            search_id=search_id,
            interaction_id=str(interaction.id),
            question=query,
            view=cast(Literal["piece", "posts", "why"], view),
            piece=int(piece),
            page=int(page),
        )
        await self._services.ports.journal.record(fact, context.origin)

    async def _vote(self, interaction: MessageInteraction[Any], search_id: str, image_id: str, right: str) -> None:
        """Record a vote. A second vote of the same member replaces the first."""
        context = _admit_private(interaction, self._services)
        await interaction.response.defer(with_message=True, ephemeral=True)
        if not await self._services.ports.journal.holds(SearchMatched, str(context.guild.id), search_id):
            raise user_error(context, "answers-too-old")
        fact = SearchVoted(
            guild_id=str(context.guild.id),
            search_id=search_id,
            interaction_id=str(interaction.id),
            image_id=image_id,
            right=right == "1",
            voter=person_from_user(context.asker),
            voted_at=disnake.utils.snowflake_time(interaction.id),
        )
        await self._services.ports.journal.record(fact, context.origin)
        log.info("vote_recorded", guild_id=fact.guild_id, search_id=search_id, is_right=fact.right)
        await interaction.edit_original_response(localize(context.locale, "asking-voted", right="yes" if fact.right else "no"))


def is_outdated(pressed: str) -> bool:
    """Tell whether a button is ours, but of a version or a kind that nobody handles any more."""
    prefix, _, rest = pressed.partition(":")
    return (
        prefix.startswith("ms")
        and prefix[2:].isdigit()
        and (prefix != CUSTOM_ID_PREFIX or rest.partition(":")[0] not in HANDLED_KINDS)
    )


def _admit_private(interaction: MessageInteraction[Any], services: Services) -> InteractionContext:
    context = build_context(interaction, services, private=True)
    check_press_quota(context, services)
    return context


def _is_page_number(number: str) -> bool:
    return number.isascii() and number.isdigit() and int(number) <= MAX_PAGE_NUMBER
