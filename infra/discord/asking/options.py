"""The options of the commands that ask, named and described in every language."""

from typing import Any

import disnake
from disnake.ext import commands

from infra.discord.wording import localized

IN_GUILDS: dict[str, Any] = {
    "contexts": disnake.InteractionContextTypes(guild=True),
    "install_types": disnake.ApplicationInstallTypes(guild=True),
}
"""Where the commands are offered."""

PLACES = [
    disnake.ChannelType.text,
    disnake.ChannelType.news,
    disnake.ChannelType.voice,
    disnake.ChannelType.stage_voice,
    disnake.ChannelType.forum,
    disnake.ChannelType.media,
    disnake.ChannelType.category,
]


def described(name: str) -> dict[str, Any]:
    """The name and the description of a command or an option."""
    return {"name": localized(f"asking-{name}-name"), "description": localized(f"asking-{name}-description")}


def _optional(name: str, **limits: Any) -> Any:
    return commands.Param(None, **described(name), **limits)


IMAGE = _optional("image")
LINK = _optional("link", max_length=1000)
PRIVATE = _optional("private")
QUERY: Any = commands.Param(**described("query"), max_length=300)
CHANNEL = _optional("channel", channel_types=PLACES)
AUTHOR = _optional("author")
AFTER = _optional("after", max_length=20)
BEFORE = _optional("before", max_length=20)
