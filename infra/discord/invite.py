"""Build the link that adds the bot to a server, with the fewest permissions that its features need. Needs no network."""

import base64
import binascii

import disnake

from contracts.errors import MapSeekError

PERMISSIONS: dict[str, str] = {
    "view_channel": "See new posts in the channels that are archived.",
    "read_message_history": "Read older posts: after an outage, for a back-fill, and when the URL of a picture has expired.",
    "send_messages": "Show the progress of a back-fill, reply to a repost, and mention the member of an alert.",
    "send_messages_in_threads": "The same in threads and forum posts.",
    "embed_links": "Format the progress of a back-fill: without this permission it is plain text.",
    "add_reactions": "Mark a repost with a reaction, which notifies nobody.",
}
"""What the bot may do in every channel, and why. Answers to commands need none of it."""

INTENTS: dict[str, str] = {
    "guilds": "Know the channels, threads and roles of a server, to decide who may read what.",
    "guild_messages": "Receive the messages that are posted, edited or deleted.",
    "message_content": "Receive their attachments. This intent is privileged: switch it on in the developer portal, page Bot.",
}
"""The events that the gateway asks Discord for, and why."""

SCOPES = ("bot", "applications.commands")


def parse_application_id(token: str) -> int:
    """Return the id of the application that a bot token belongs to, which is in the token's first part.

    Raises MapSeekError for anything but a bot token.
    """
    first, dot, _ = token.strip().partition(".")
    try:
        decoded = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        decoded = ""
    if not dot or not decoded.isdigit():
        raise MapSeekError("DISCORD_TOKEN is not a bot token: copy it from the Bot page of the Discord developer portal.")
    return int(decoded)


def build_invite_link(application_id: int, guild_id: int | None = None) -> str:
    """Build the link to the page where a server's owner adds the bot. If a guild is given, it is preselected."""
    permissions = disnake.Permissions(**dict.fromkeys(PERMISSIONS, True))
    guild = disnake.utils.MISSING if guild_id is None else disnake.Object(guild_id)
    return disnake.utils.oauth_url(application_id, permissions=permissions, guild=guild, scopes=SCOPES)
