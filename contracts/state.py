"""What is kept beside the logs, in the key-value bucket: small documents that change. Keys are built in contracts/subjects.py."""

from collections.abc import Callable
from typing import Literal, TypeVar

from pydantic import Field

from contracts.events.base import Id, Instant, Payload
from contracts.ports import StateStore

PayloadT = TypeVar("PayloadT", bound=Payload)


class GuildSettings(Payload):
    """What the managers of a guild chose; the owner of the installation chose the rest by environment variables.

    `watched` are ids of channels, threads, forums and categories. Searches are counted by the minute, and may come all at once.
    """

    watched: tuple[Id, ...] = ()
    private_answers: bool = True
    repost_notice: Literal["none", "reaction", "reply"] = "none"
    locale: str | None = None
    searches_per_member: int = Field(default=10, ge=1, le=600)
    searches_per_guild: int = Field(default=60, ge=1, le=6000)
    searches_at_once: int = Field(default=3, ge=1, le=20)


class HighWaterMark(Payload):
    """Every image of a channel up to this message is recorded. `heard_at` is when the channel was last heard."""

    message_id: Id
    heard_at: Instant


class Backfill(Payload):
    """How far the recording of a channel's past has come.

    Messages after `position` and up to `until` are still to be read, oldest first; it began at `since`. Ids are snowflakes.
    `channel_id` is what was asked for, `sources` are the channels and threads that it has, of which the first `done` are finished.
    It was `asked_in` a channel, where `notice` (channel id, message id) is the message that shows the progress once the
    interaction's token is gone.
    """

    channel_id: Id
    sources: tuple[Id, ...]
    since: Id
    until: Id
    position: Id
    done: int = 0
    state: Literal["running", "paused", "cancelled", "finished"] = "running"
    messages: int = 0
    images: int = 0
    unreadable: tuple[Id, ...] = ()
    requested_by: Id
    requested_at: Instant
    worked_s: float = 0.0
    locale: str = "en-US"
    application_id: Id | None = None
    token: str | None = Field(default=None, repr=False)
    token_until: Instant | None = None
    asked_in: Id | None = None
    notice: tuple[Id, Id] | None = None


class ForgetRequest(Payload):
    """A person asked at this moment that all their earlier posts stay out."""

    until: Instant


class ArchiveOwner(Payload):
    """The bot that this archive belongs to: another one is in other guilds, and would take those of this one for left."""

    bot_id: Id


async def read_document(state: StateStore, key: str, kind: type[PayloadT]) -> PayloadT | None:
    """The document of a key, None where there is none. Raises Unavailable."""
    entry = await state.get(key)
    return None if entry is None else kind.model_validate_json(entry.value)


async def update_document(
    state: StateStore, key: str, kind: type[PayloadT], change: Callable[[PayloadT | None], PayloadT]
) -> PayloadT:
    """Change a document whatever others do meanwhile: `change` is called again with what they made of it. Raises Unavailable."""
    while True:
        entry = await state.get(key)
        changed = change(None if entry is None else kind.model_validate_json(entry.value))
        body = changed.model_dump_json().encode()
        if await state.swap(key, body, 0 if entry is None else entry.revision):
            return changed
