"""The link that adds the bot to a server, with the least that its features need: pure, no network."""

import base64
import binascii

import disnake

from contracts.errors import MapSeekError

PERMISSIONS: dict[str, str] = {
    "view_channel": "hear of what is posted in a channel that is to be archived",
    "read_message_history": "catch up after an outage, back-fill a channel, fetch a picture whose address has expired",
    "send_messages": "show the progress of a long back-fill, answer a repost with a link, mention whoever waits for a picture",
    "send_messages_in_threads": "the same in threads and forum posts",
    "embed_links": "show a back-fill's progress as more than plain text",
    "add_reactions": "mark a repost with a quiet reaction",
}
"""What the bot may do in every channel, and what for. Answers to commands need none of it."""

INTENTS: dict[str, str] = {
    "guilds": "servers, channels, roles and threads: who may read what",
    "guild_messages": "messages that are posted, edited and deleted",
    "message_content": "privileged: without it Discord hides attachments; switch it on in the developer portal, Bot page",
}
"""What the gateway asks Discord to tell it, and what for."""

SCOPES = ("bot", "applications.commands")


def parse_application_id(token: str) -> int:
    """The id of the application that a bot's token is for, which its first part says. Raises MapSeekError for no such token."""
    first, dot, _ = token.strip().partition(".")
    try:
        decoded = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        decoded = ""
    if not dot or not decoded.isdigit():
        raise MapSeekError("DISCORD_TOKEN is no bot token: copy it from the Bot page of the Discord developer portal.")
    return int(decoded)


def build_invite_link(application_id: int, guild_id: int | None = None) -> str:
    """The page on which the owner of a server adds the bot; a guild that is given is chosen already."""
    permissions = disnake.Permissions(**dict.fromkeys(PERMISSIONS, True))
    guild = disnake.utils.MISSING if guild_id is None else disnake.Object(guild_id)
    return disnake.utils.oauth_url(application_id, permissions=permissions, guild=guild, scopes=SCOPES)
