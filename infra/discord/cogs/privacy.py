"""`/privacy` and `/forget`: what is stored about members, and the removal of their posts.

Nothing is removed here: the request is recorded as a fact.
"""

import re
from typing import Any

import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageInteraction

from contracts.events import ImagePosted, RemovalRequested
from contracts.events.base import Instant
from infra.discord.answers.buttons import FORGET, build_custom_id, parse_custom_id
from infra.discord.ask.parse import parse_message_link
from infra.discord.ask.query import InteractionContext, build_context, button_scope, interaction_scope, user_error
from infra.discord.cogs.find import GUILD_ONLY
from infra.discord.services import Services
from infra.discord.wording import localize, localize_all

log = structlog.get_logger()

_ID = re.compile(r"(?:\d{17,20}-)?(\d{17,20})", re.ASCII)

SlashInteraction = ApplicationCommandInteraction[Any]
MODERATOR_PERMISSIONS = disnake.Permissions(view_channel=True, manage_messages=True)


def parse_message_id(typed: str, guild_id: str) -> str | None:
    """Return the message id in a link, an id or Discord's `<channel>-<message>`; None for another guild's link or other text."""
    if link := parse_message_link(typed):
        return str(link.message_id) if str(link.guild_id) == guild_id else None
    found = _ID.fullmatch(typed.strip().removeprefix("<").removesuffix(">"))
    return found[1] if found else None


def build_author_removal(guild_id: str, person_id: str, removal_id: str, now: Instant) -> RemovalRequested:
    """Return the removal of everything that a member posted in a guild, with their votes and alerts."""
    return RemovalRequested(
        guild_id=guild_id, removal_id=removal_id, scope="author", target=person_id, cause="forgotten", requested_at=now
    )


def build_message_removal(post: ImagePosted, now: Instant) -> RemovalRequested:
    """Return the removal of all images of a post's message. Requested twice, it is recorded once."""
    return RemovalRequested(
        guild_id=post.guild_id,
        removal_id=f"forgotten-{post.message_id}",
        scope="message",
        target=post.message_id,
        cause="forgotten",
        requested_at=now,
    )


class PrivacyCommands(commands.Cog):
    """For every member. Only moderators may remove other members' posts."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services

    @commands.slash_command(name=localize_all("privacy-name"), description=localize_all("privacy-description"), **GUILD_ONLY)
    async def privacy(self, interaction: SlashInteraction) -> None:
        with interaction_scope(interaction):
            locale = str(interaction.locale)
            embed = disnake.Embed(title=localize(locale, "privacy-title"), description=localize(locale, "privacy-kept"))
            for part in ("asking", "removal", "readers"):
                embed.add_field(localize(locale, f"privacy-{part}-title"), localize(locale, f"privacy-{part}"), inline=False)
            await interaction.response.send_message(embed=embed, ephemeral=True)

    @commands.slash_command(
        name=localize_all("privacy-forget-name"), description=localize_all("privacy-forget-description"), **GUILD_ONLY
    )
    async def forget(self, interaction: SlashInteraction) -> None:
        """Only subcommands can be used."""

    @forget.sub_command(name=localize_all("privacy-me-name"), description=localize_all("privacy-me-description"))
    async def me(self, interaction: SlashInteraction) -> None:
        """Say how many images there are to remove, and ask for confirmation."""
        with interaction_scope(interaction):
            context = build_context(interaction, self._services, private=True)
            await interaction.response.defer(ephemeral=True)
            guild_id, person_id = str(context.guild.id), str(context.asker.id)
            posts = self._services.ports.posts.of_guild(guild_id, author_id=person_id)
            count = len({post.image_id async for post in posts})
            await interaction.edit_original_response(
                localize(context.locale, "privacy-me-sure", count=count), components=_confirm_buttons(context.locale, person_id)
            )

    @forget.sub_command(name=localize_all("privacy-message-name"), description=localize_all("privacy-message-description"))
    async def message(
        self,
        interaction: SlashInteraction,
        message: str = commands.Param(
            name=localize_all("privacy-message-option-name"),
            description=localize_all("privacy-message-option-description"),
            max_length=200,
        ),
    ) -> None:
        """Remove the images of one message. A member who may not do that does not learn whether there are any."""
        with interaction_scope(interaction):
            context = build_context(interaction, self._services, private=True)
            message_id = parse_message_id(message, str(context.guild.id))
            if message_id is None:
                raise user_error(context, "privacy-message-unknown")
            await interaction.response.defer(ephemeral=True)
            posts = await self._services.ports.posts.of_message(str(context.guild.id), message_id)
            if not posts or not _may_remove(posts[0], context):
                raise user_error(context, "privacy-message-none")
            self._services.recorder.add_removal(build_message_removal(posts[0], self._services.ports.now()), context.origin)
            log.info("message_removal_requested", guild_id=posts[0].guild_id, message_id=message_id, user_id=str(context.asker.id))
            await interaction.edit_original_response(localize(context.locale, "privacy-message-forgotten", count=len(posts)))

    @commands.Cog.listener()
    async def on_button_click(self, interaction: MessageInteraction[Any]) -> None:
        pressed = parse_custom_id(interaction.component.custom_id or "", FORGET, 2)
        if pressed is not None:
            async with button_scope(interaction):
                await self._handle_decision(interaction, *pressed)

    async def _handle_decision(self, interaction: MessageInteraction[Any], decision: str, person_id: str) -> None:
        context = build_context(interaction, self._services, private=True)
        if str(context.asker.id) != person_id:
            raise user_error(context, "privacy-not-yours")
        await interaction.response.defer(with_message=False)
        if decision == "yes":
            await self._forget(context)
        text = localize(context.locale, "privacy-me-forgotten" if decision == "yes" else "privacy-me-kept")
        await interaction.edit_original_response(text, components=[])

    async def _forget(self, context: InteractionContext) -> None:
        """Keep the member's posts out first, so that a running back-fill adds nothing after the removal."""
        guild_id, person_id, now = str(context.guild.id), str(context.asker.id), self._services.ports.now()
        await self._services.forgotten_members.forget(guild_id, person_id, now)
        removal = build_author_removal(guild_id, person_id, str(context.interaction.id), now)
        self._services.recorder.add_removal(removal, context.origin)
        log.info("author_removal_requested", guild_id=guild_id)


def _may_remove(post: ImagePosted, context: InteractionContext) -> bool:
    """Tell whether the member may remove a post: its author may, and a moderator of its channel.

    If the channel is unknown, a moderator of the whole guild may.
    """
    if post.author.id == str(context.asker.id):
        return True
    known = context.guild.get_channel_or_thread(int(post.channel_id))
    if known is None and post.thread_of is not None:
        known = context.guild.get_channel(int(post.thread_of))
    if known is None:
        return context.asker.guild_permissions.manage_messages
    try:
        return known.permissions_for(context.asker) >= MODERATOR_PERMISSIONS
    except disnake.ClientException:  # a thread whose channel is gone
        return context.asker.guild_permissions.manage_messages


def _confirm_buttons(locale: str, person_id: str) -> list[disnake.ui.Button[Any]]:
    return [
        disnake.ui.Button(
            label=localize(locale, "privacy-button-yes"),
            style=disnake.ButtonStyle.danger,
            custom_id=build_custom_id(FORGET, "yes", person_id),
        ),
        disnake.ui.Button(
            label=localize(locale, "privacy-button-no"),
            style=disnake.ButtonStyle.secondary,
            custom_id=build_custom_id(FORGET, "no", person_id),
        ),
    ]
