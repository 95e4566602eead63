"""`/archive`: how managers of a guild watch channels, back-fill them, see the archive's state and change its settings."""

from collections.abc import Mapping
from typing import Any

import disnake
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageInteraction

from contracts.errors import MapSeekError
from contracts.state import GuildSettings
from infra.discord.answers.buttons import BACKFILL, parse_custom_id
from infra.discord.archive.backfill import AlreadyActive, Backfills, build_backfill, renew_token
from infra.discord.archive.backfill_view import render_archive_status, render_backfill
from infra.discord.archive.intake import render_watched_channels, with_watched, without_watched
from infra.discord.ask.parse import parse_date
from infra.discord.ask.query import button_scope, interaction_scope
from infra.discord.services import Services
from infra.discord.wording import LANGUAGES, choose_language, localize, localize_all

MessageChannel = disnake.TextChannel | disnake.VoiceChannel | disnake.StageChannel | disnake.Thread
WatchableChannel = MessageChannel | disnake.ForumChannel | disnake.MediaChannel | disnake.CategoryChannel

WATCHABLE_OPTION: Any = commands.Param(
    name=localize_all("archive-channel-name"), description=localize_all("archive-channel-description")
)

AUTO_LANGUAGE = "auto"

SlashInteraction = ApplicationCommandInteraction[Any]
MANAGER_PERMISSIONS = disnake.Permissions(manage_guild=True)


def build_choices(option: str, *values: str) -> list[disnake.OptionChoice]:
    """Return the values of an option with their names in every language."""
    return [disnake.OptionChoice(localize_all(f"archive-{option}-{value}"), value) for value in values]


def merge_settings(settings: GuildSettings, wanted: Mapping[str, Any]) -> GuildSettings:
    """Return the settings with the chosen values; None leaves a value as it is.

    The language `auto` means each member's own language.
    """
    changes = {name: value for name, value in wanted.items() if value is not None}
    if "locale" in changes:
        language = changes["locale"]
        changes["locale"] = None if language == AUTO_LANGUAGE else str(LANGUAGES[language][0])
    return GuildSettings.model_validate({**settings.model_dump(), **changes})


def render_settings(settings: GuildSettings, locale: str) -> disnake.Embed:
    """Render the settings as an embed."""
    language = choose_language(settings.locale) if settings.locale else AUTO_LANGUAGE
    lines = (
        localize(locale, "archive-shown-private", private="yes" if settings.private_answers else "no"),
        localize(locale, "archive-shown-notice", notice=localize(locale, f"archive-notice-{settings.repost_notice}")),
        localize(locale, "archive-shown-language", language=localize(locale, f"archive-language-{language}")),
        localize(locale, "archive-shown-member", count=settings.searches_per_member),
        localize(locale, "archive-shown-guild", count=settings.searches_per_guild),
        localize(locale, "archive-shown-once", count=settings.searches_at_once),
    )
    return disnake.Embed(title=localize(locale, "archive-settings-title"), description="\n".join(lines))


class ArchiveCommands(commands.Cog):
    """For members who may manage the server. The buttons check that again."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._backfills = Backfills(bot, services)

    def cog_unload(self) -> None:
        """Stop the back-fills because the client closes."""
        self._backfills.stop()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Resume the back-fills that were running when the last process ended."""
        await self._backfills.resume_all()

    @commands.Cog.listener()
    async def on_guild_gone(self, guild_id: str) -> None:
        """Drop the back-fills of a guild that the bot has left."""
        await self._backfills.drop_guild(guild_id)

    @commands.slash_command(
        name=localize_all("archive-name"),
        description=localize_all("archive-description"),
        default_member_permissions=MANAGER_PERMISSIONS,
        contexts=disnake.InteractionContextTypes(guild=True),
        install_types=disnake.ApplicationInstallTypes(guild=True),
    )
    async def archive(self, interaction: SlashInteraction) -> None:
        """Only subcommands can be used."""

    @archive.sub_command_group(name=localize_all("archive-watch-name"))
    async def watch(self, interaction: SlashInteraction) -> None:
        """Only subcommands can be used."""

    @watch.sub_command(name=localize_all("archive-add-name"), description=localize_all("archive-add-description"))
    async def add(self, interaction: SlashInteraction, channel: WatchableChannel = WATCHABLE_OPTION) -> None:
        """Watch one more channel, thread, forum or category."""
        guild = _require_guild(interaction)
        await self._services.guilds.change(guild.id, lambda settings: with_watched(settings, channel.id))
        self._bot.dispatch("watch_change", guild)
        await _reply(interaction, localize(str(interaction.locale), "archive-added", channel=f"<#{channel.id}>"))

    @watch.sub_command(name=localize_all("archive-remove-name"), description=localize_all("archive-remove-description"))
    async def remove(self, interaction: SlashInteraction, channel: WatchableChannel = WATCHABLE_OPTION) -> None:
        """Stop watching a channel; its archive is kept."""
        guild = _require_guild(interaction)
        known = str(channel.id) in self._services.guilds.get(guild.id).watched
        await self._services.guilds.change(guild.id, lambda settings: without_watched(settings, channel.id))
        self._bot.dispatch("watch_change", guild)
        message = "archive-removed" if known else "archive-not-watched"
        await _reply(interaction, localize(str(interaction.locale), message, channel=f"<#{channel.id}>"))

    @watch.sub_command(name=localize_all("archive-list-name"), description=localize_all("archive-list-description"))
    async def list_(self, interaction: SlashInteraction) -> None:
        """List the watched channels."""
        await _reply(interaction, render_watched_channels(self._services, _require_guild(interaction), str(interaction.locale)))

    @archive.sub_command(name=localize_all("archive-backfill-name"), description=localize_all("archive-backfill-description"))
    async def backfill(
        self,
        interaction: SlashInteraction,
        channel: WatchableChannel = WATCHABLE_OPTION,
        since: str = commands.Param(
            "", name=localize_all("archive-since-name"), description=localize_all("archive-since-description"), max_length=20
        ),
    ) -> None:
        """Archive the older posts of a channel, a forum or a category."""
        guild, locale = _require_guild(interaction), str(interaction.locale)
        begin = parse_date(since) if since else None
        if since and (begin is None or begin > self._services.ports.now()):
            raise MapSeekError(localize(locale, "archive-backfill-bad-date"))
        if any(each.channel_id == str(channel.id) for each in await self._backfills.list_active(str(guild.id))):
            raise MapSeekError(localize(locale, "archive-backfill-active", channel=f"<#{channel.id}>"))
        with interaction_scope(interaction):
            await interaction.response.defer()
            backfill = await build_backfill(interaction, self._services, channel, begin)
            if not backfill.sources:
                raise MapSeekError(localize(locale, "archive-backfill-nothing", channel=f"<#{channel.id}>"))
            await interaction.edit_original_response(**render_backfill(backfill))
            try:
                await self._backfills.begin(str(guild.id), backfill)
            except AlreadyActive:
                raise MapSeekError(localize(locale, "archive-backfill-active", channel=f"<#{channel.id}>")) from None

    @commands.Cog.listener()
    async def on_button_click(self, interaction: MessageInteraction[Any]) -> None:
        """Pause, resume or cancel a back-fill."""
        parts = parse_custom_id(interaction.component.custom_id or "", BACKFILL, 2)
        if parts is None or parts[0] not in ("pause", "resume", "cancel") or interaction.guild is None:
            return
        async with button_scope(interaction):
            await self._apply_action(interaction, str(interaction.guild.id), *parts)

    async def _apply_action(self, interaction: MessageInteraction[Any], guild_id: str, action: str, channel_id: str) -> None:
        locale = str(interaction.locale)
        if not interaction.permissions.manage_guild:
            raise MapSeekError(localize(locale, "archive-managers-only"))
        changed = await self._backfills.apply_action(
            guild_id, channel_id, action, lambda backfill: renew_token(interaction, backfill)
        )
        if changed is None:
            raise MapSeekError(localize(locale, "archive-backfill-unknown"))
        await interaction.response.edit_message(**render_backfill(changed))

    @archive.sub_command(name=localize_all("archive-status-name"), description=localize_all("archive-status-description"))
    async def status(self, interaction: SlashInteraction) -> None:
        """Show the state of the archive."""
        guild = _require_guild(interaction)
        with interaction_scope(interaction):
            await interaction.response.defer(ephemeral=True)
            backfills = await self._backfills.list_active(str(guild.id))
            await interaction.edit_original_response(
                embed=await render_archive_status(self._services, guild, backfills, str(interaction.locale))
            )

    @archive.sub_command(name=localize_all("archive-settings-name"), description=localize_all("archive-settings-description"))
    async def settings(
        self,
        interaction: SlashInteraction,
        private_answers: bool | None = commands.Param(
            None, name=localize_all("archive-private-name"), description=localize_all("archive-private-description")
        ),
        repost_notice: str | None = commands.Param(
            None,
            name=localize_all("archive-notice-name"),
            description=localize_all("archive-notice-description"),
            choices=build_choices("notice", "none", "reaction", "reply"),
        ),
        language: str | None = commands.Param(
            None,
            name=localize_all("archive-language-name"),
            description=localize_all("archive-language-description"),
            choices=build_choices("language", "auto", *LANGUAGES),
        ),
        per_member: int | None = commands.Param(
            None, name=localize_all("archive-member-name"), description=localize_all("archive-member-description"), ge=1, le=600
        ),
        per_guild: int | None = commands.Param(
            None, name=localize_all("archive-guild-name"), description=localize_all("archive-guild-description"), ge=1, le=6000
        ),
        at_once: int | None = commands.Param(
            None, name=localize_all("archive-once-name"), description=localize_all("archive-once-description"), ge=1, le=20
        ),
    ) -> None:
        """Change the settings that an option gives, and show all settings of the guild."""
        guild = _require_guild(interaction)
        wanted = {
            "private_answers": private_answers,
            "repost_notice": repost_notice,
            "locale": language,
            "searches_per_member": per_member,
            "searches_per_guild": per_guild,
            "searches_at_once": at_once,
        }
        settings = await self._services.guilds.change(guild.id, lambda stored: merge_settings(stored, wanted))
        with interaction_scope(interaction):
            await interaction.response.send_message(embed=render_settings(settings, str(interaction.locale)), ephemeral=True)


def _require_guild(interaction: SlashInteraction) -> disnake.Guild:
    if interaction.guild is None:
        raise MapSeekError(localize(str(interaction.locale), "archive-only-in-servers"))
    return interaction.guild


async def _reply(interaction: SlashInteraction, sentence: str) -> None:
    with interaction_scope(interaction):
        await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=disnake.AllowedMentions.none())
