"""The LogEraser port: facts are overwritten on disk and purged from the streams.

After a purge alone nobody can read a fact, but its bytes stay in the files of the stream until the server rewrites them at some
time.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from nats.aio.client import Client
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError

from contracts.events import AlertFact, ImageFact, ImageRemoved, ImageResurfaced
from contracts.subjects import (
    ALERTS,
    FAILURES,
    IMAGES,
    INCIDENTS,
    MESSAGE,
    RECORD,
    RETRIES,
    entity_filters,
    entity_of,
    failure_subject,
    incident_filter,
    parse_dead_letter,
    parse_subject,
    person_filters,
    retry_subject,
)
from infra.nats.connection import translate_outages
from infra.nats.reader import get_last_message, read_facts, scan_subjects

MESSAGE_GONE_CODES = (10043, 10057)
"""The server's error codes for a message that is already deleted."""


CHANNEL_HEADER, THREAD_OF_HEADER = "mapseek-channel", "mapseek-thread-of"
"""Headers of an unreadable message: its channel, and for a public thread the channel that the thread belongs to."""

_DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
"""From when Discord counts the time in its ids, in milliseconds."""


class LogErasure:
    """Erases the facts about an image or a person. Several processes may do so at the same time, and may repeat it."""

    def __init__(self, client: Client, *, timeout: float = 5) -> None:
        self._js = client.jetstream(timeout=timeout)

    async def history(self, guild_id: str, image_id: str) -> tuple[Sequence[ImageFact], int]:
        with translate_outages():
            facts, until = await read_facts(self._js, IMAGES, entity_filters("image", guild_id, image_id))
        return [fact for fact in facts if isinstance(fact, ImageFact)], until

    async def erase_image(self, guild_id: str, image_id: str, until: int) -> None:
        """Erase an image's facts up to a sequence, with their dead letters, which hold the same data, and their incidents.

        ImageResurfaced is erased last: while it is in the log, an interrupted erasure is started again.
        """
        with translate_outages():
            subjects, _ = await scan_subjects(self._js, IMAGES, entity_filters("image", guild_id, image_id))
            last = [subject for subject in subjects if _is_kind(ImageResurfaced, subject)]
            for subject in subjects:
                if subject not in last and not _is_kind(ImageRemoved, subject):
                    await self._erase(subject, until)
            await self._erase_all(INCIDENTS, incident_filter(guild_id, image_id))
            for subject in last:
                await self._erase(subject, until)

    async def erase_person(self, guild_id: str, person_id: str) -> None:
        """Erase a person's alerts and votes, and the incidents of the alerts and of the searches that both are about."""
        with translate_outages():
            for stream, filters in person_filters(guild_id, person_id).items():
                for each in filters:
                    subjects, _ = await scan_subjects(self._js, stream, [each])
                    for entity_id in {entity_of(subject)[1] for subject in subjects}:
                        await self._erase_all(INCIDENTS, incident_filter(guild_id, entity_id))
                    await self._erase_all(stream, each)

    async def erase_unreadable(
        self, guild_id: str, scope: Literal["message", "channel", "author", "guild"], target: str, until: datetime
    ) -> None:
        message_id = target if scope == "message" else "*"
        with translate_outages():
            for stream, build in ((FAILURES, failure_subject), (RETRIES, retry_subject)):
                subjects, _ = await scan_subjects(self._js, stream, [build(RECORD, MESSAGE, message_id, guild_id=guild_id)])
                for subject in subjects:
                    if scope in ("author", "guild") and _snowflake_time(parse_dead_letter(subject).sequence) > until:
                        continue
                    if scope in ("channel", "author"):
                        message = await get_last_message(self._js, stream, subject)
                        if message is None or not _is_about(message, scope, target):
                            continue
                    await self._erase_all(stream, subject)

    async def erase_entry(self, stream: str, sequence: int) -> None:
        """Erase one entry of a stream. It is no error if it is already gone. Raises Unavailable."""
        with translate_outages():
            await self._overwrite(stream, sequence)

    async def _erase(self, subject: str, until: int) -> None:
        message = await get_last_message(self._js, IMAGES, subject)
        if message is not None and message.seq is not None and message.seq <= until:
            await self._erase_copies(ImageFact.family, message.seq)
            await self._overwrite(IMAGES, message.seq)
            await self._js.purge_stream(IMAGES, subject=subject, seq=message.seq + 1)

    async def _erase_copies(self, family: str, sequence: int) -> None:
        """Erase the dead letters of a log entry, also those that were put back for another try."""
        for generation in (None, "*"):
            await self._erase_all(FAILURES, failure_subject("*", family, sequence, generation))
            await self._erase_all(RETRIES, retry_subject("*", family, sequence, generation))

    async def _erase_all(self, stream: str, subjects: str) -> None:
        """Erase everything on the subjects that match."""
        found, _ = await scan_subjects(self._js, stream, [subjects])
        for subject in found:
            while (message := await get_last_message(self._js, stream, subject)) is not None and message.seq is not None:
                if stream == ALERTS:
                    await self._erase_copies(AlertFact.family, message.seq)
                await self._overwrite(stream, message.seq)
        await self._js.purge_stream(stream, subject=subjects)

    async def _overwrite(self, stream: str, sequence: int) -> None:
        """Delete a message and overwrite it with random bytes: the server does so by default."""
        try:
            await self._js.delete_msg(stream, sequence)
        except APIError as error:
            if error.err_code not in MESSAGE_GONE_CODES:
                raise


async def purge_entries(client: Client, stream: str, subjects: str) -> None:
    """Purge the entries on these subjects. Their bytes stay on disk for now. Raises Unavailable."""
    with translate_outages():
        await client.jetstream().purge_stream(stream, subject=subjects)


def _is_about(letter: RawStreamMsg, scope: str, target: str) -> bool:
    """Whether the message of a dead letter was posted in a channel or one of its public threads, or a person occurs in it."""
    if scope == "author":
        return re.search(rb"(?<!\d)%s(?!\d)" % target.encode(), letter.data or b"") is not None
    headers = letter.headers or {}
    return target in (headers.get(CHANNEL_HEADER), headers.get(THREAD_OF_HEADER))


def _snowflake_time(message_id: str) -> datetime:
    """Return when a message was posted, which its id says."""
    return _DISCORD_EPOCH + timedelta(milliseconds=int(message_id) >> 22)


def _is_kind(kind: type[ImageFact], subject: str) -> bool:
    return parse_subject(subject)[0] == kind.type_name()
