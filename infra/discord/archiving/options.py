"""Options that several subcommands of `/archive` have."""

from typing import Any

import disnake
from disnake.ext import commands

from infra.discord.wording import localized

WithMessages = disnake.TextChannel | disnake.VoiceChannel | disnake.StageChannel | disnake.Thread
Place = WithMessages | disnake.ForumChannel | disnake.MediaChannel | disnake.CategoryChannel

CHANNEL: Any = commands.Param(name=localized("archive-channel-name"), description=localized("archive-channel-description"))


def choices_of(option: str, *values: str) -> list[disnake.OptionChoice]:
    """The values that an option may have, by their names in every language."""
    return [disnake.OptionChoice(localized(f"archive-{option}-{value}"), value) for value in values]
