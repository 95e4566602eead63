"""Sends notices of reposts and alerts, over REST with the bot's token and without a gateway.

Every message carries a nonce, which Discord keeps for a few minutes, so a repeated delivery shows no second message. A replay may
come later than that: for a repost the bot's earlier reply is looked for first, and for an alert the log says that it was delivered.
"""

from typing import Any, Literal

import disnake
import structlog
from disnake.http import HTTPClient, Route

from contracts.events import Person
from contracts.ports import Document, Notice
from infra.discord.rest.client import RestClient
from infra.discord.rest.permissions import onlookers_may_read, person_may_read
from infra.discord.wording import localize

log = structlog.get_logger()

REPOST_EMOJI = "\N{CLOCKWISE RIGHTWARDS AND LEFTWARDS OPEN CIRCLE ARROWS}"
"""🔁"""
MAX_NONCE_LENGTH = 25
MAX_FOLLOWING_MESSAGES = 100
"""Messages after a post that are searched for the bot's reply: the most that Discord returns at once."""


class DiscordNotices:
    """Implements the port Notifier."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def may_read(self, guild_id: str, channel_id: str, person_id: str, *, age_restricted: bool) -> bool:
        async with self._rest.client_for("who may read a channel") as client:
            return await person_may_read(client, guild_id, channel_id, person_id, age_restricted=age_restricted)

    async def mark_repost(self, notice: Notice, style: Literal["reaction", "reply"]) -> None:
        channel_id, message_id = _post_location(notice.post)
        try:
            async with self._rest.client_for("to mark a repost") as client:
                earlier = None if style == "reaction" else notice.earlier
                if earlier is None or not await onlookers_may_read(client, notice.guild_id, _post_location(earlier)[0], channel_id):
                    await client.add_reaction(int(channel_id), int(message_id), REPOST_EMOJI)
                    return
                if await _is_answered(client, channel_id, message_id):
                    return
                locale = notice.locale or await _preferred_locale(client, notice.guild_id)
                text = localize(locale, "notices-repost", link=str(earlier["message_link"]))
                replied = {"message_id": message_id, "channel_id": channel_id, "guild_id": notice.guild_id}
                await _send(client, channel_id, text, f"repost{message_id}", message_reference=replied)
        except (disnake.NotFound, disnake.Forbidden) as refusal:
            log.info(
                "repost_not_marked", guild_id=notice.guild_id, channel_id=channel_id, message_id=message_id, reason=refusal.text
            )

    async def notify_person(
        self, notice: Notice, person: Person, channel_id: str, alert_id: str
    ) -> Literal["direct", "mention", "undeliverable"]:
        link, nonce = str(notice.post["message_link"]), f"alert{alert_id}"
        try:
            async with self._rest.client_for("to write to a member") as client:
                direct: Any = await client.start_private_message(int(person.id))
                await _send(client, direct["id"], localize(notice.locale, "notices-alert-direct", link=link), nonce)
            return "direct"
        except (disnake.NotFound, disnake.Forbidden) as refusal:
            log.info("alert_dm_refused", alert_id=alert_id, reason=refusal.text)
        try:
            async with self._rest.client_for("to mention a member") as client:
                # Everyone in the channel sees the mention, so it links the picture only if they all may read it.
                shown = await onlookers_may_read(client, notice.guild_id, _post_location(notice.post)[0], channel_id)
                message = "notices-alert-mention" if shown else "notices-alert-mention-elsewhere"
                text = localize(notice.locale, message, member=f"<@{person.id}>", link=link)
                await _send(client, channel_id, text, nonce, mentioned=[person.id])
            return "mention"
        except (disnake.NotFound, disnake.Forbidden) as refusal:
            log.warning("alert_undeliverable", alert_id=alert_id, reason=refusal.text)
            return "undeliverable"


async def _send(
    client: HTTPClient, channel_id: str, content: str, nonce: str, *, mentioned: list[str] | None = None, **more: Any
) -> None:
    """Send a message that notifies only the members in `mentioned`. disnake's own call does not support an enforced nonce."""
    body = {
        "content": content,
        "nonce": nonce[:MAX_NONCE_LENGTH],
        "enforce_nonce": True,
        "allowed_mentions": {"parse": [], "users": mentioned or [], "replied_user": False},
        **more,
    }
    await client.request(Route("POST", "/channels/{channel_id}/messages", channel_id=int(channel_id)), json=body)


async def _is_answered(client: HTTPClient, channel_id: str, message_id: str) -> bool:
    """Tell whether the bot itself replied to a message. Its reply is among the messages that follow directly."""
    following: Any = await client.logs_from(int(channel_id), MAX_FOLLOWING_MESSAGES, after=int(message_id))
    authors = {each["author"]["id"] for each in following if (each.get("message_reference") or {}).get("message_id") == message_id}
    if not authors:
        return False
    me: Any = await client.request(Route("GET", "/users/@me"))
    return me["id"] in authors


async def _preferred_locale(client: HTTPClient, guild_id: str) -> str:
    guild: Any = await client.get_guild(int(guild_id), with_counts=False)
    return str(guild["preferred_locale"])


def _post_location(post: Document) -> tuple[str, str]:
    """Return the channel id and the message id of a post."""
    return str(post["metadata"]["channel_id"]), str(post["discord_message_id"])
