"""The port UnreadableMessages: messages of Discord that cannot be read, as dead letters of the gateway.

Such a letter has the message's id in place of a sequence, and the payload that Discord sent as its body. The payload is personal:
it is erased with the message (infra/nats/erasure.py), and no export has it (docs/adr/0020).
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from structlog.contextvars import bound_contextvars

from contracts.errors import Retry, Unavailable
from contracts.ports import ReadAgain
from contracts.subjects import (
    DISCORD,
    FAILURES,
    MESSAGE,
    RECORD,
    RETRIES,
    consumer_name,
    entity_of,
    failure_subject,
    message_subject,
    retry_consumer_name,
    retry_subject,
)
from infra.nats.erasure import CHANNEL_HEADER, THREAD_OF_HEADER
from infra.nats.journal import JetStreamJournal
from infra.tasks import raise_if_cancelled
from pipeline.engine.dead_letters import Delivery, WorkerIdentity, read_round, record_dead_letter

log = structlog.get_logger()

MAX_PAYLOAD_BYTES = 1_000_000
"""A longer payload is cut. The log takes no entry of more than 8 MB; a message of Discord has some kilobytes."""

FETCH_TIMEOUT_S, FOLLOW_ERROR_PAUSE_S = 5.0, 0.5
FIRST_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 5.0, 3600.0

HIDDEN_TEXT = "***"
_SECRET_NAME = re.compile("token|secret", re.IGNORECASE)
_WEBHOOK_TOKEN = re.compile(r"(/webhooks/\d+/)([A-Za-z0-9_-]+)")

_WORKER = WorkerIdentity(RECORD, MESSAGE, consumer_name(RECORD, MESSAGE))


class UnreadableLetters:
    """Keeps messages in FAILURES, and reads from RETRIES what somebody put back. `on_kept` is called for each new letter."""

    def __init__(self, client: Client, journal: JetStreamJournal, on_kept: Callable[[], None]) -> None:
        self._client = client
        self._journal = journal
        self._on_kept = on_kept

    async def keep(
        self,
        guild_id: str,
        channel_id: str,
        message_id: str,
        payload: object,
        reason: str,
        error: BaseException | None = None,
        *,
        thread_of: str | None = None,
    ) -> bool:
        put_back, _ = await self._journal.read_last_headers(RETRIES, retry_subject(RECORD, MESSAGE, message_id, guild_id=guild_id))
        secrets = set(_list_secrets(payload))

        def hide(text: str) -> str:
            for secret in secrets:
                text = text.replace(secret, HIDDEN_TEXT)
            return text

        delivery = Delivery(
            stream=DISCORD,
            sequence=int(message_id),
            attempt=1,
            subject=message_subject(guild_id, message_id),
            headers={CHANNEL_HEADER: channel_id} | ({} if thread_of is None else {THREAD_OF_HEADER: thread_of}),
            body=encode_payload(payload),
            round=0 if put_back is None else read_round(put_back) + 1,
        )
        is_new = await record_dead_letter(
            self._journal, delivery, _WORKER, cause="malformed", reason=reason, error=error, hide=hide
        )
        if is_new:
            self._on_kept()
            log.error("discord_message_unreadable", channel_id=channel_id, message_id=message_id, reason=hide(reason))
        return is_new

    async def has(self, guild_id: str, message_id: str) -> bool:
        for stream, build in ((FAILURES, failure_subject), (RETRIES, retry_subject)):
            headers, _ = await self._journal.read_last_headers(stream, build(RECORD, MESSAGE, message_id, guild_id=guild_id))
            if headers is not None:
                return True
        return False

    async def follow_retries(self, read_again: ReadAgain) -> None:
        """Fetch one message after another. If the log cannot be reached, or has no consumer for this, try again in a moment."""
        js = self._client.jetstream()
        while True:
            raise_if_cancelled()
            try:
                subscription = await js.pull_subscribe_bind(retry_consumer_name(RECORD), stream=RETRIES)
                try:
                    while True:
                        raise_if_cancelled()
                        try:
                            [message] = await subscription.fetch(1, timeout=FETCH_TIMEOUT_S)
                        except TimeoutError:
                            await subscription.consumer_info()  # raises if the consumer is gone
                            continue
                        await _settle_retry(message, read_again)
                finally:
                    await subscription.unsubscribe()
            except (NatsError, JetStreamError, TimeoutError) as error:
                log.debug("message_retries_resumed", error=str(error) or type(error).__name__)
                await asyncio.sleep(FOLLOW_ERROR_PAUSE_S)


async def _settle_retry(message: Msg, read_again: ReadAgain) -> None:
    """Have a message read again. Put it back for later if it cannot be had now, or if reading it failed in an unforeseen way."""
    headers = dict(message.headers or {})
    guild_id, message_id = entity_of(headers["mapseek-subject"])
    deliveries = min(message.metadata.num_delivered or 1, 20)
    delay = min(FIRST_RETRY_DELAY_S * 2 ** (deliveries - 1), MAX_RETRY_DELAY_S)
    with bound_contextvars(correlation_id=f"message-{message_id}", stage=RECORD, lane=MESSAGE):
        try:
            await read_again(guild_id, headers[CHANNEL_HEADER], message_id)
        except (Retry, Unavailable) as error:
            delay = getattr(error, "after", None) or delay
            log.info("message_retried", error=str(error), delay_s=delay)
            await message.nak(delay=delay)
        except Exception:
            log.exception("stage_failed", subject=message.subject)
            await message.nak(delay=delay)
        else:
            await message.ack()


def encode_payload(payload: object) -> bytes:
    """Return a payload as JSON, without secrets and without the message that it replies to, which may be deleted before it."""
    shown = _remove_secrets(payload)
    if isinstance(shown, dict):
        shown.pop("referenced_message", None)
    # Not orjson: Discord sends strings with half a character, which UTF-8 cannot hold.
    return json.dumps(shown).encode()[:MAX_PAYLOAD_BYTES]


def _remove_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {name: _remove_secrets(each) for name, each in value.items() if not _SECRET_NAME.search(str(name))}
        case list():
            return [_remove_secrets(each) for each in value]
        case str():
            return _WEBHOOK_TOKEN.sub(rf"\1{HIDDEN_TEXT}", value)
    return value


def _list_secrets(value: object, *, is_secret: bool = False) -> Iterator[str]:
    """Yield every text that stands under the name of a secret, and the tokens of webhooks in other texts."""
    match value:
        case dict():
            for name, each in value.items():
                yield from _list_secrets(each, is_secret=is_secret or bool(_SECRET_NAME.search(str(name))))
        case list():
            for each in value:
                yield from _list_secrets(each, is_secret=is_secret)
        case str() if is_secret and value:
            yield value
        case str():
            yield from (found[2] for found in _WEBHOOK_TOKEN.finditer(value))
