"""Working off a durable in bulk: several hands fetch batches and put every message through the runner.

What has been lying there for years can be fetched many at a time; a subscriber of FastStream's, one message at a time, costs more
than a replay may. A hand fetches a batch, works on all of it at once and fetches the next: while the model is at one hand's batch,
the others read, prepare and record theirs. What a killed process held comes back from the server, and facts are unique, so that the
next process goes on where it was.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from pipeline.replay.limits import Limits
from pipeline.runner import Job, Runtime, run

log = structlog.get_logger()

FETCH_TIMEOUT_S = 1.0
SERVER_BACK_S = 0.5

Skip = Callable[[Msg], Awaitable[bool]]
"""Whether a message needs no work, and is only acknowledged."""


@dataclass(frozen=True, slots=True)
class Track:
    """What is played: a durable of a stream, up to a stream sequence. What is behind that is acknowledged and left to others.

    What other processes hold is waited for; on a durable that is not a replay's own for so many seconds of `patience` only.
    """

    stream: str
    durable: str
    end: int
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Hands:
    """How much is worked on at once: by so many hands, in batches of so many."""

    number: int
    batch: int


class Gone(Exception):
    """Somebody deleted the durable while it was played."""


async def play(
    client: Client, track: Track, job: Job, runtime: Runtime, limits: Limits, hands: Hands, *, skip: Skip | None = None
) -> None:
    """Work until all of a track is settled, by whomever. Raises Gone when the durable is deleted meanwhile.

    A server that goes away is waited for. When this is cancelled, what is held is given back at once.
    """
    player = _Player(client.jetstream(), track, job, runtime, limits, skip)
    working = [asyncio.create_task(player.work(hands.batch)) for _ in range(hands.number)]
    try:
        # The first to find that nothing is left speaks for all; the others only wait for messages.
        [first, *_], _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        first.result()
    finally:
        for hand in working:
            hand.cancel()
        await asyncio.gather(*working, return_exceptions=True)


@dataclass(slots=True)
class _Player:
    """What the hands share: how many messages they hold, when the last one came, and whether that was the last of the track."""

    js: JetStreamContext
    track: Track
    job: Job
    runtime: Runtime
    limits: Limits
    skip: Skip | None
    near_end: bool = False
    held: int = 0
    fed_at: float = field(default_factory=monotonic)

    async def work(self, batch: int) -> None:
        """One hand, until nothing is left."""
        subscription = await self.js.pull_subscribe_bind(self.track.durable, stream=self.track.stream)
        try:
            while True:
                await self.limits.turn(batch)
                messages = await self._fetch(subscription, batch)
                if messages:
                    self.fed_at = monotonic()
                    self.near_end |= self._is_last(messages[-1])
                    await self._settle(messages)
                _end_if_cancelled()
                if (self.near_end or not messages) and await self._through():
                    return
        finally:
            with suppress(NatsError):
                await subscription.unsubscribe()

    async def _fetch(self, subscription: JetStreamContext.PullSubscription, batch: int) -> list[Msg]:
        """Empty where nothing comes: all is done, is to be tried again later, is paused, or the server is away."""
        try:
            return await subscription.fetch(batch, timeout=FETCH_TIMEOUT_S)
        except TimeoutError:
            return []
        except ConnectionClosedError:
            raise  # it is our own end: a connection that breaks is made again
        except (NatsError, JetStreamError) as error:
            log.debug("the log cannot be read at the moment", error=str(error) or type(error).__name__)
            await asyncio.sleep(SERVER_BACK_S)
            return []

    async def _settle(self, messages: list[Msg]) -> None:
        self.held += len(messages)
        try:
            _end_if_cancelled()
            await asyncio.gather(*(self._settle_one(message) for message in messages))
        except asyncio.CancelledError:
            for message in messages:
                if not message.is_acked:
                    with suppress(NatsError):
                        await message.nak()
            raise
        finally:
            self.held -= len(messages)

    async def _settle_one(self, message: Msg) -> None:
        try:
            if self._is_beyond(message) or (self.skip is not None and await self.skip(message)):
                await message.ack()
            else:
                await run(message, self.job, self.runtime)
        except NatsError as error:
            # Not acknowledged, so the server brings it again.
            log.warning("a message could not be settled", subject=message.subject, error=str(error) or type(error).__name__)

    def _is_beyond(self, message: Msg) -> bool:
        return message.metadata.sequence.stream > self.track.end

    def _is_last(self, message: Msg) -> bool:
        return not message.metadata.num_pending or self._is_beyond(message)

    async def _through(self) -> bool:
        try:
            info = await self.js.consumer_info(self.track.stream, self.track.durable)
        except NotFoundError:
            raise Gone(self.track.durable) from None
        except (NatsError, JetStreamError, TimeoutError):
            return False
        delivered = info.delivered.stream_seq if info.delivered else 0
        if info.num_pending and delivered < self.track.end:
            return False
        patience = self.track.patience
        waited = patience is not None and not self.held and monotonic() - self.fed_at > patience
        return not info.num_ack_pending or waited


def _end_if_cancelled() -> None:
    """Python 3.11's `asyncio.wait_for`, and so nats-py's fetch, loses a cancellation that comes together with a message."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
