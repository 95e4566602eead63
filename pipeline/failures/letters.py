"""The open dead letters: find them by id, filter them, retry them, discard them."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic

from contracts.errors import MapSeekError
from contracts.events import MessageDiscarded, MessageRequeued
from contracts.subjects import (
    FAILURES,
    MESSAGE,
    RETRIES,
    DeadLetterKey,
    entity_of,
    failure_subject,
    parse_dead_letter,
    retry_consumer_name,
    retry_subject,
)
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import RawEntry, read_last_entry, read_log
from pipeline.engine.dead_letters import Delivery, WorkerIdentity, read_round, record_incident, remove_server_headers

_ALL_LETTERS = failure_subject(">", "", "")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. Its id, such as `embed/image/123` or `embed/image/123/g2`, is the same in every round of retries.

    What failed is an entry of the log, or a message of Discord that the gateway cannot read (`record/message/<message id>`).
    """

    position: int
    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return parse_dead_letter(self.subject).id

    @property
    def worker(self) -> WorkerIdentity:
        stage, family, _, generation, _ = parse_dead_letter(self.subject)
        return WorkerIdentity(stage, family, self.headers["mapseek-consumer"], generation)

    @property
    def delivery(self) -> Delivery:
        """The last delivery of the entry, after which the stage gave up."""
        return Delivery(
            stream=self.headers["mapseek-stream"],
            sequence=int(self.headers["mapseek-sequence"]),
            attempt=int(self.headers["mapseek-attempts"]),
            subject=self.headers["mapseek-subject"],
            headers=self.headers,
            body=self.body,
            round=read_round(self.headers),
        )

    @property
    def reason(self) -> str:
        return self.headers.get("mapseek-reason", "")

    @property
    def about(self) -> tuple[str, str]:
        """The guild, and the id of the image, search, alert, removal or message; both are empty if the entry's subject has none."""
        return entity_of(self.headers.get("mapseek-subject", ""))


async def list_letters(
    client: Client, *, stage: str | None = None, reason: str | None = None, guild: str | None = None
) -> list[Letter]:
    """Return the dead letters, oldest first: of one stage, with a text in their reason, about one guild. Raises Unavailable."""
    filters = [_ALL_LETTERS if stage is None else failure_subject(stage, ">", "")]
    found: dict[str, Letter] = {}
    async with aclosing(read_log(client, FAILURES, filters)) as messages:
        async for message in messages:
            position = message.metadata.sequence.stream
            found[message.subject] = Letter(position, message.subject, dict(message.headers or {}), message.data)
    return [
        letter
        for letter in found.values()
        if (reason or "").casefold() in letter.reason.casefold() and guild in (None, letter.about[0])
    ]


async def find_letter(client: Client, letter_id: str) -> Letter:
    """Return the dead letter with an id. Raises MapSeekError if there is none, and Unavailable."""
    tokens = letter_id.strip().split("/")
    if len(tokens) in (3, 4) and all(token and not set(token) & set(" .*>\t\r\n") for token in tokens):
        key = DeadLetterKey(*tokens)
        subject = failure_subject(*key._replace(guild_id="*") if key.family == MESSAGE else key)
        if (entry := await read_last_entry(client, FAILURES, subject)) is not None:
            return letter_from_entry(entry)
    raise MapSeekError(f"There is no dead letter {letter_id!r}: see `mapseek failures list`.")


def letter_from_entry(entry: RawEntry) -> Letter:
    """Build the dead letter from an entry of FAILURES or RETRIES."""
    return Letter(entry.sequence, entry.subject, dict(entry.headers), entry.body)


async def retry_letter(letter: Letter, journal: JetStreamJournal, erasure: LogErasure) -> None:
    """Put a dead letter back to its stage. If this is interrupted, nothing is lost, and it can safely be repeated.

    Raises Unavailable.
    """
    worker, delivery = letter.worker, letter.delivery
    await record_incident(MessageRequeued, delivery, worker, journal)
    subject = retry_subject(*parse_dead_letter(letter.subject))
    await journal.publish_once(subject, letter.body, remove_server_headers(letter.headers), RETRIES)
    await erasure.erase_entry(FAILURES, letter.position)


async def discard_letter(letter: Letter, journal: JetStreamJournal, erasure: LogErasure) -> None:
    """Delete a dead letter. Only the incident that somebody discarded it is left. Raises Unavailable."""
    await record_incident(MessageDiscarded, letter.delivery, letter.worker, journal)
    await erasure.erase_entry(FAILURES, letter.position)


async def list_stages_without_worker(client: Client, stages: Iterable[str], within_s: float = 1.0) -> list[str]:
    """Return those of the stages that no process works on.

    Between two fetches a worker is not visible for a moment, so a stage is watched for up to `within_s` seconds. Raises
    Unavailable.
    """
    return [stage for stage in dict.fromkeys(stages) if not await _has_worker(client, stage, monotonic() + within_s)]


async def _has_worker(client: Client, stage: str, deadline: float) -> bool:
    while True:
        consumer = await read_consumer(client, RETRIES, retry_consumer_name(stage))
        if consumer is not None and consumer.waiting:
            return True
        if monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
