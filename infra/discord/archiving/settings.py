"""The settings of a guild: how they change, and how they are shown."""

from collections.abc import Mapping
from typing import Any

import disnake

from contracts.state import GuildSettings
from infra.discord.wording import LANGUAGES, language_of, say

AUTOMATIC = "auto"


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
