"""Converts what Discord sends, and disnake's objects, to facts, without I/O."""

from collections.abc import Collection
from typing import Any

import disnake
from disnake.interactions import Interaction
from pydantic import ValidationError

from contracts.errors import MapSeekError
from contracts.events import DiscordFile, DiscordReply, Filters, ImagePosted, Person, Question
from infra.discord.pictures import PostedMessage, UnreadableMessage, describe_error
from infra.discord.wording import localize

MAX_PIECES = 10
"""The most pieces of map art in an answer."""


def posts_from_message(message: PostedMessage, channel: Any) -> list[ImagePosted]:
    """Return one fact for every picture that a message in this channel shows; none for a direct message.

    Raises UnreadableMessage if Discord says of a picture what a fact cannot hold.
    """
    guild = getattr(channel, "guild", None)
    if guild is None:
        return []
    guild_id, channel_id, message_id = str(guild.id), str(channel.id), str(message.id)
    thread_of, posted_at = parent_of_public_thread(channel), disnake.utils.snowflake_time(message.id)
    try:
        return [
            ImagePosted(
                guild_id=guild_id,
                channel_id=channel_id,
                thread_of=thread_of,
                image_id=picture.image_id,
                message_id=message_id,
                author=message.author,
                posted_at=posted_at,
                filename=picture.filename,
                message_link=f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}",
                source=DiscordFile(url=picture.url, channel_id=channel_id, message_id=message_id, attachment_id=picture.image_id),
                content_type=picture.content_type,
                size=picture.size,
                width=picture.width,
                height=picture.height,
                spoiler=picture.spoiler,
            )
            for picture in message.pictures
        ]
    except ValidationError as error:
        raise UnreadableMessage(describe_error(error)) from error


def parent_of_public_thread(channel: object) -> str | None:
    """Return the id of the channel that a public thread or a forum post belongs to; None for any other channel."""
    return str(channel.parent_id) if isinstance(channel, disnake.Thread) and not channel.is_private() else None


def require_guild_member(interaction: Interaction[Any]) -> tuple[disnake.Guild, disnake.Member]:
    """Return the guild of a command or press, and the member. Raises MapSeekError if the bot is not in the guild."""
    guild, asker = interaction.guild, interaction.author
    if guild is None or not isinstance(asker, disnake.Member):
        raise MapSeekError(localize(str(interaction.locale), "asking-not-here"))
    return guild, asker


def person_from_user(user: disnake.User | disnake.Member) -> Person:
    """Return a person with the name that members of the guild see."""
    return Person(id=str(user.id), name=user.display_name)


def query_from_interaction(
    interaction: Interaction[Any],
    channels: Collection[str],
    *,
    locale: str,
    private: bool,
    message_id: int | None = None,
    filters: Filters | None = None,
) -> Question:
    """Build the `Question` of a search: who asks, what the answer may show, and where it is shown.

    The answer is shown in the interaction's own response, or in the follow-up message `message_id`.
    """
    reply = DiscordReply(
        application_id=str(interaction.application_id),
        token=interaction.token,
        message_id=None if message_id is None else str(message_id),
    )
    return Question(
        asker=person_from_user(interaction.author),
        requested_at=disnake.utils.snowflake_time(interaction.id),
        reply=reply,
        readable_channels=tuple(channels),
        top=MAX_PIECES,
        channel_id=str(interaction.channel_id),
        locale=locale,
        private=private,
        filters=filters,
    )
