"""`/archive`: what the managers of a guild decide about its archive, and how they see that it does well.

Options that several subcommands of `/archive` have.

The settings of a guild: how they change, and how they are shown.
"""

from collections.abc import Mapping
from typing import Any

import disnake
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageInteraction

from contracts.errors import MapSeekError
from contracts.state import GuildSettings
from infra.discord.answers.buttons import BACKFILL, parsed
from infra.discord.archive.backfill import AlreadyActive, Backfills, pressed, requested
from infra.discord.archive.backfill_view import overview_of, view_of
from infra.discord.archive.intake import watched_view, with_watched, without_watched
from infra.discord.ask.parse import beginning_of
from infra.discord.ask.question import interacting, pressing
from infra.discord.services import Services
from infra.discord.wording import LANGUAGES, language_of, localized, say

WithMessages = disnake.TextChannel | disnake.VoiceChannel | disnake.StageChannel | disnake.Thread
Place = WithMessages | disnake.ForumChannel | disnake.MediaChannel | disnake.CategoryChannel

CHANNEL: Any = commands.Param(name=localized("archive-channel-name"), description=localized("archive-channel-description"))

AUTOMATIC = "auto"

Interaction = ApplicationCommandInteraction[Any]
MANAGERS = disnake.Permissions(manage_guild=True)


def choices_of(option: str, *values: str) -> list[disnake.OptionChoice]:
    """The values that an option may have, by their names in every language."""
    return [disnake.OptionChoice(localized(f"archive-{option}-{value}"), value) for value in values]


def changed_settings(settings: GuildSettings, wanted: Mapping[str, Any]) -> GuildSettings:
    """The settings with what was chosen; None leaves a value as it is. Each member's own language is the language `auto`."""
    changes = {name: value for name, value in wanted.items() if value is not None}
    if "locale" in changes:
        language = changes["locale"]
        changes["locale"] = None if language == AUTOMATIC else str(LANGUAGES[language][0])
    return GuildSettings.model_validate({**settings.model_dump(), **changes})


def settings_view(settings: GuildSettings, locale: str) -> disnake.Embed:
    """The settings in words."""
    language = language_of(settings.locale) if settings.locale else AUTOMATIC
    lines = (
        say(locale, "archive-shown-private", private="yes" if settings.private_answers else "no"),
        say(locale, "archive-shown-notice", notice=say(locale, f"archive-notice-{settings.repost_notice}")),
        say(locale, "archive-shown-language", language=say(locale, f"archive-language-{language}")),
        say(locale, "archive-shown-member", count=settings.searches_per_member),
        say(locale, "archive-shown-guild", count=settings.searches_per_guild),
        say(locale, "archive-shown-once", count=settings.searches_at_once),
    )
    return disnake.Embed(title=say(locale, "archive-settings-title"), description="\n".join(lines))


class Administration(commands.Cog):
    """For members who may manage the server; buttons check that again."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._backfills = Backfills(bot, services)

    def cog_unload(self) -> None:
        """The client closes."""
        self._backfills.stop()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """What was running when the last process ended goes on."""
        await self._backfills.take_up()

    @commands.Cog.listener()
    async def on_guild_gone(self, guild_id: str) -> None:
        """There is nothing to fill in any more."""
        await self._backfills.abandon(guild_id)

    @commands.slash_command(
        name=localized("archive-name"),
        description=localized("archive-description"),
        default_member_permissions=MANAGERS,
        contexts=disnake.InteractionContextTypes(guild=True),
        install_types=disnake.ApplicationInstallTypes(guild=True),
    )
    async def archive(self, interaction: Interaction) -> None:
        """Only subcommands can be used."""

    @archive.sub_command_group(name=localized("archive-watch-name"))
    async def watch(self, interaction: Interaction) -> None:
        """Only subcommands can be used."""

    @watch.sub_command(name=localized("archive-add-name"), description=localized("archive-add-description"))
    async def add(self, interaction: Interaction, channel: Place = CHANNEL) -> None:
        """Watch one more channel, thread, forum or category."""
        guild = _guild_of(interaction)
        await self._services.guilds.change(guild.id, lambda settings: with_watched(settings, channel.id))
        self._bot.dispatch("watch_change", guild)
        await _say(interaction, say(str(interaction.locale), "archive-added", channel=f"<#{channel.id}>"))

    @watch.sub_command(name=localized("archive-remove-name"), description=localized("archive-remove-description"))
    async def remove(self, interaction: Interaction, channel: Place = CHANNEL) -> None:
        """Watch one place less; what is archived stays."""
        guild = _guild_of(interaction)
        known = str(channel.id) in self._services.guilds.of(guild.id).watched
        await self._services.guilds.change(guild.id, lambda settings: without_watched(settings, channel.id))
        self._bot.dispatch("watch_change", guild)
        message = "archive-removed" if known else "archive-not-watched"
        await _say(interaction, say(str(interaction.locale), message, channel=f"<#{channel.id}>"))

    @watch.sub_command(name=localized("archive-list-name"), description=localized("archive-list-description"))
    async def list_(self, interaction: Interaction) -> None:
        """Name what is watched."""
        await _say(interaction, watched_view(self._services, _guild_of(interaction), str(interaction.locale)))

    @archive.sub_command(name=localized("archive-backfill-name"), description=localized("archive-backfill-description"))
    async def backfill(
        self,
        interaction: Interaction,
        channel: Place = CHANNEL,
        since: str = commands.Param(
            "", name=localized("archive-since-name"), description=localized("archive-since-description"), max_length=20
        ),
    ) -> None:
        """Archive the past of a channel, a forum or a category."""
        guild, locale = _guild_of(interaction), str(interaction.locale)
        begin = beginning_of(since) if since else None
        if since and (begin is None or begin > self._services.ports.now()):
            raise MapSeekError(say(locale, "archive-backfill-bad-date"))
        if any(each.channel_id == str(channel.id) for each in await self._backfills.of_guild(str(guild.id))):
            raise MapSeekError(say(locale, "archive-backfill-active", channel=f"<#{channel.id}>"))
        with interacting(interaction):
            await interaction.response.defer()
            backfill = await requested(interaction, self._services, channel, begin)
            if not backfill.sources:
                raise MapSeekError(say(locale, "archive-backfill-nothing", channel=f"<#{channel.id}>"))
            await interaction.edit_original_response(**view_of(backfill))
            try:
                await self._backfills.begin(str(guild.id), backfill)
            except AlreadyActive:
                raise MapSeekError(say(locale, "archive-backfill-active", channel=f"<#{channel.id}>")) from None

    @commands.Cog.listener()
    async def on_button_click(self, interaction: MessageInteraction[Any]) -> None:
        """Pause, resume or cancel a back-fill."""
        parts = parsed(interaction.component.custom_id or "", BACKFILL, 2)
        if parts is None or parts[0] not in ("pause", "resume", "cancel") or interaction.guild is None:
            return
        async with pressing(interaction):
            await self._steer(interaction, str(interaction.guild.id), *parts)

    async def _steer(self, interaction: MessageInteraction[Any], guild_id: str, action: str, channel_id: str) -> None:
        locale = str(interaction.locale)
        if not interaction.permissions.manage_guild:
            raise MapSeekError(say(locale, "archive-managers-only"))
        steered = await self._backfills.steer(guild_id, channel_id, action, lambda backfill: pressed(interaction, backfill))
        if steered is None:
            raise MapSeekError(say(locale, "archive-backfill-unknown"))
        await interaction.response.edit_message(**view_of(steered))

    @archive.sub_command(name=localized("archive-status-name"), description=localized("archive-status-description"))
    async def status(self, interaction: Interaction) -> None:
        """How the archive does."""
        guild = _guild_of(interaction)
        with interacting(interaction):
            await interaction.response.defer(ephemeral=True)
            backfills = await self._backfills.of_guild(str(guild.id))
            await interaction.edit_original_response(
                embed=await overview_of(self._services, guild, backfills, str(interaction.locale))
            )

    @archive.sub_command(name=localized("archive-settings-name"), description=localized("archive-settings-description"))
    async def settings(
        self,
        interaction: Interaction,
        private_answers: bool | None = commands.Param(
            None, name=localized("archive-private-name"), description=localized("archive-private-description")
        ),
        repost_notice: str | None = commands.Param(
            None,
            name=localized("archive-notice-name"),
            description=localized("archive-notice-description"),
            choices=choices_of("notice", "none", "reaction", "reply"),
        ),
        language: str | None = commands.Param(
            None,
            name=localized("archive-language-name"),
            description=localized("archive-language-description"),
            choices=choices_of("language", "auto", *LANGUAGES),
        ),
        per_member: int | None = commands.Param(
            None, name=localized("archive-member-name"), description=localized("archive-member-description"), ge=1, le=600
        ),
        per_guild: int | None = commands.Param(
            None, name=localized("archive-guild-name"), description=localized("archive-guild-description"), ge=1, le=6000
        ),
        at_once: int | None = commands.Param(
            None, name=localized("archive-once-name"), description=localized("archive-once-description"), ge=1, le=20
        ),
    ) -> None:
        """Show the settings of the guild, changed where an option says so."""
        guild = _guild_of(interaction)
        wanted = {
            "private_answers": private_answers,
            "repost_notice": repost_notice,
            "locale": language,
            "searches_per_member": per_member,
            "searches_per_guild": per_guild,
            "searches_at_once": at_once,
        }
        settings = await self._services.guilds.change(guild.id, lambda stored: changed_settings(stored, wanted))
        with interacting(interaction):
            await interaction.response.send_message(embed=settings_view(settings, str(interaction.locale)), ephemeral=True)


def _guild_of(interaction: Interaction) -> disnake.Guild:
    if interaction.guild is None or interaction.guild.me is None:
        raise MapSeekError(say(str(interaction.locale), "archive-only-in-servers"))
    return interaction.guild


async def _say(interaction: Interaction, sentence: str) -> None:
    with interacting(interaction):
        await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=disnake.AllowedMentions.none())
