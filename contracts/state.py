"""Small mutable documents, kept beside the log in the key-value bucket. contracts/subjects.py builds their keys."""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from contracts.errors import Malformed
from contracts.events.base import Id, Instant, Payload
from contracts.ports import StateStore
from contracts.subjects import BACKFILLS, FORGOTTEN, MARKS, SETTINGS, owner_key, parse_state_key

Snowflake = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
"""An id that Discord made. Its number is larger if it was made later."""

PayloadT = TypeVar("PayloadT", bound=Payload)


class GuildSettings(Payload):
    """Settings that the managers of a guild made. The owner of the installation makes all others by environment variables.

    `watched` are ids of channels, threads, forums and categories. The search quotas are per minute; bursts are allowed.
    """

    watched: tuple[Id, ...] = ()
    private_answers: bool = True
    repost_notice: Literal["none", "reaction", "reply"] = "none"
    locale: str | None = None
    searches_per_member: int = Field(default=10, ge=1, le=600)
    searches_per_guild: int = Field(default=60, ge=1, le=6000)
    searches_at_once: int = Field(default=3, ge=1, le=20)


class HighWaterMark(Payload):
    """Every image of a channel after the message `since` and up to `message_id` is recorded, apart from what was back-filled.

    `heard_at` is when the gateway last heard of the channel. Marks of older versions do not have `since`.
    """

    message_id: Snowflake
    heard_at: Instant
    since: Snowflake | None = None


class Backfill(Payload):
    """The progress of a back-fill.

    Messages after `position` and up to `until` are still to be read, oldest first; reading began at `since`.
    `channel_id` is the channel to back-fill; `sources` are its channels and threads, of which the first `done` are finished.
    `asked_in` is the channel of the command. Once the interaction's token has expired, the message `notice` (channel id,
    message id) there shows the progress.
    """

    channel_id: Snowflake
    sources: tuple[Snowflake, ...]
    since: Snowflake
    until: Snowflake
    position: Snowflake
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
    notice: tuple[Snowflake, Snowflake] | None = None


class ForgetRequest(Payload):
    """A person asked to be forgotten: all their posts until this time stay out of the archive."""

    until: Instant


class ArchiveOwner(Payload):
    """The bot that this archive belongs to. Another bot is in other guilds and would treat this bot's guilds as left."""

    bot_id: Id


_DOCUMENTS: dict[str, type[Payload]] = {
    SETTINGS: GuildSettings,
    MARKS: HighWaterMark,
    BACKFILLS: Backfill,
    FORGOTTEN: ForgetRequest,
    owner_key(): ArchiveOwner,
}


def parse_document(key: str, value: bytes) -> Payload:
    """Parse the document of a key. Raises Malformed if no document has such a key, or the value is no such document."""
    kind = _DOCUMENTS[parse_state_key(key)]
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc'])) or kind.__name__}: {first['msg']}") from None


async def read_document(state: StateStore, key: str, kind: type[PayloadT]) -> PayloadT | None:
    """Read the document of a key, None if there is none. Raises Unavailable."""
    entry = await state.get(key)
    return None if entry is None else kind.model_validate_json(entry.value)


async def update_document(
    state: StateStore, key: str, kind: type[PayloadT], change: Callable[[PayloadT | None], PayloadT]
) -> PayloadT:
    """Change a document by compare-and-swap. If somebody else changes it first, `change` is called again. Raises Unavailable."""
    while True:
        entry = await state.get(key)
        changed = change(None if entry is None else kind.model_validate_json(entry.value))
        body = changed.model_dump_json().encode()
        if await state.swap(key, body, 0 if entry is None else entry.revision):
            return changed
