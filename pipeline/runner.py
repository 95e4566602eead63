"""What happens to every message of every stage, once for all: decode, work, record, acknowledge; or retry, hold, bury."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol, TypeVar, runtime_checkable

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from structlog.contextvars import bound_contextvars

from contracts.envelope import Origin
from contracts.errors import Malformed, Reject, RejectCode, Retry, Unavailable
from contracts.events import Fact
from contracts.stage import Stage
from infra.nats.journal import JetStreamJournal
from infra.nats.wire import Recorded, read
from pipeline.deadletters import Cause, Delivery, bury
from pipeline.guards import PUT_BACK_S
from pipeline.monitoring.metrics import Metrics
from pipeline.policy import Policy
from pipeline.precedence import Precedence

log = structlog.get_logger()

T = TypeVar("T")


@runtime_checkable
class Rejectable(Protocol):
    """A step of an image or of a question: it knows the fact that ends its entity's way."""

    def rejected(self, stage: str, code: RejectCode, reason: str) -> Fact: ...


@dataclass(slots=True)
class Job:
    """One stage in one lane in this process. `in_a_row` counts dead letters since the last success, for the circuit breaker."""

    stage: Stage[Any]
    family: str
    deps: object
    in_a_row: int = 0

    @property
    def labels(self) -> tuple[str, str]:
        return self.stage.name, self.family


@dataclass(slots=True)
class Runtime:
    """What all jobs of a process share."""

    journal: JetStreamJournal
    metrics: Metrics
    policy: Policy = field(default_factory=Policy)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    waiting_for: dict[str, str] = field(default_factory=dict)
    precedence: Precedence = field(default_factory=Precedence)


class Stopping(Exception):
    """The process is asked to end while a message was held: it is left to the next process."""


async def run(message: Msg, job: Job, runtime: Runtime) -> None:
    """Work on one delivered message until it is settled. Never raises for what the message or a dependency does."""
    delivery = _delivery(message)
    started = monotonic()
    runtime.metrics.received.labels(*job.labels).inc()
    correlation = delivery.headers.get("ce-correlationid", delivery.subject)
    with (
        bound_contextvars(correlation_id=correlation, stage=job.stage.name, lane=job.family, attempt=delivery.attempt),
        runtime.metrics.in_flight.labels(*job.labels).track_inprogress(),
    ):
        async with _kept_alive(message, runtime.policy.keep_alive_every), _in_turn(job, runtime):
            try:
                while not await _settled(message, delivery, job, runtime):
                    continue
            except Stopping:
                log.info("left to the next process", subject=delivery.subject)
                await message.nak(delay=PUT_BACK_S)
        runtime.metrics.duration.labels(*job.labels).observe(monotonic() - started)


@asynccontextmanager
async def _in_turn(job: Job, runtime: Runtime) -> AsyncIterator[None]:
    """An image waits until no question is worked on."""
    if job.family == "search":
        with runtime.precedence.question():
            yield
    else:
        await runtime.precedence.stand_back()
        yield


async def _settled(message: Msg, delivery: Delivery, job: Job, runtime: Runtime) -> bool:
    """One try at a message. False when the circuit breaker asks for another one in place."""
    if delivery.attempt > job.stage.attempts:
        reason = f"delivered {delivery.attempt} times and never finished: the process died of it, or hung"
        await _dead_letter(message, delivery, job, runtime, "poison", reason, None, None)
        return True
    try:
        recorded = read(delivery.subject, delivery.headers, delivery.body)
    except Malformed as error:
        await _dead_letter(message, delivery, job, runtime, "malformed", str(error), None, None)
        return True
    try:
        facts = await _work(recorded.fact, job, runtime)
    except Retry as error:
        return await _put_back(message, delivery, job, runtime, "exhausted", error, error.after, recorded)
    except Stopping:
        raise
    except Exception as error:
        # A bug, or something no adapter foresaw: nothing is lost, and its traceback goes with the dead letter.
        log.exception("stage failed", subject=delivery.subject)
        return await _put_back(message, delivery, job, runtime, "error", error, None, recorded)
    await _record(facts, recorded.origin, delivery.subject, job, runtime)
    await message.ack()
    if job.in_a_row:
        job.in_a_row = 0
        runtime.waiting_for.pop(job.stage.name, None)
    runtime.metrics.succeeded.labels(*job.labels).inc()
    log.debug("done", subject=delivery.subject, facts=[fact.type_name() for fact in facts])
    return True


async def _work(fact: Fact, job: Job, runtime: Runtime) -> Sequence[Fact]:
    """The stage's facts; a Reject is one of them. Held while a dependency is down."""

    async def handle() -> Sequence[Fact]:
        return await job.stage.handle(fact, job.deps)

    try:
        return await _until_available(handle, job, runtime)
    except Reject as rejection:
        log.info("rejected", code=rejection.code, reason=rejection.reason)
        runtime.metrics.rejected.labels(*job.labels, rejection.code).inc()
        return (_rejection(fact, job, rejection.code, rejection.reason),)


def _rejection(fact: Fact, job: Job, code: RejectCode, reason: str) -> Fact:
    if not isinstance(fact, Rejectable):
        raise TypeError(f"{fact.type_name()} cannot be rejected")
    return fact.rejected(job.stage.name, code, reason)


async def _record(facts: Sequence[Fact], origin: Origin, cause: str, job: Job, runtime: Runtime) -> None:
    """Record what the stage returned. A fact that is there already was recorded by an earlier delivery."""
    consequence = Origin(origin.correlation_id, cause)
    for fact in facts:
        new = await _until_available(lambda fact=fact: runtime.journal.record(fact, consequence), job, runtime)  # type: ignore[misc]
        if not new:
            runtime.metrics.known.labels(*job.labels).inc()


async def _until_available(action: Callable[[], Awaitable[T]], job: Job, runtime: Runtime) -> T:
    """Hold the message while a dependency is down: an outage uses up no attempts and moves nothing to FAILURES."""
    tries = 0
    while True:
        try:
            result = await action()
        except Unavailable as outage:
            tries += 1
            runtime.waiting_for[job.stage.name] = outage.dependency
            runtime.metrics.held.labels(*job.labels, outage.dependency).inc()
            log.warning("held: a dependency is down", dependency=outage.dependency, reason=str(outage), tries=tries)
            await _pause(runtime.policy.hold.delay(tries), runtime)
        else:
            if tries:
                runtime.waiting_for.pop(job.stage.name, None)
            return result


async def _pause(seconds: float, runtime: Runtime) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(runtime.stopping.wait(), seconds)
        raise Stopping


async def _put_back(
    message: Msg,
    delivery: Delivery,
    job: Job,
    runtime: Runtime,
    cause: Cause,
    error: Exception,
    after: float | None,
    recorded: Recorded,
) -> bool:
    """Deliver again later, or bury when the attempts are used up. False: the circuit breaker is open, try once more in place."""
    reason = str(error) or type(error).__name__
    delay = runtime.policy.retry(job.family).delay(delivery.attempt, after)
    if delivery.attempt < job.stage.attempts:
        # One that names its time is an appointment, not a failure: a rate limit, or a blob that is too young to be deleted.
        log.log(logging.WARNING if after is None else logging.INFO, "tried again later", reason=reason, delay_s=round(delay, 2))
        runtime.metrics.retried.labels(*job.labels).inc()
        await message.nak(delay=delay)
    elif job.in_a_row < runtime.policy.breaker_limit:
        job.in_a_row += 1
        await _dead_letter(message, delivery, job, runtime, cause, reason, error, recorded)
    else:
        # Everything fails, so it is not the messages: wait in place rather than empty the whole log into FAILURES.
        log.error("circuit breaker open: every message of this stage fails", reason=reason, in_a_row=job.in_a_row)
        runtime.waiting_for[job.stage.name] = "circuit breaker"
        await _pause(delay, runtime)
        return False
    return True


async def _dead_letter(
    message: Msg,
    delivery: Delivery,
    job: Job,
    runtime: Runtime,
    cause: Cause,
    reason: str,
    error: BaseException | None,
    recorded: Recorded | None,
) -> None:
    """Bury the message, and tell a person who waits for its answer. Only then is it taken from the stage."""

    async def record() -> bool:
        return await bury(
            runtime.journal, delivery, stage=job.stage.name, family=job.family, cause=cause, reason=reason, error=error
        )

    await _until_available(record, job, runtime)
    question = (recorded or _readable(delivery)) if job.family == "search" else None
    if question is not None and isinstance(question.fact, Rejectable):
        apology = f"MapSeek could not work on this picture; the bot's owner finds the cause under {question.origin.correlation_id}."
        rejection = _rejection(question.fact, job, RejectCode.INTERNAL, apology)
        await _record((rejection,), question.origin, delivery.subject, job, runtime)
    await message.term()
    runtime.metrics.dead_lettered.labels(*job.labels).inc()
    log.error("dead-lettered", subject=delivery.subject, cause=cause, reason=reason)


def _readable(delivery: Delivery) -> Recorded | None:
    try:
        return read(delivery.subject, delivery.headers, delivery.body)
    except Malformed:
        return None


@asynccontextmanager
async def _kept_alive(message: Msg, every: float) -> AsyncIterator[None]:
    """Tell the server, while the work goes on, that it does."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(every)
            with suppress(NatsError):
                await message.in_progress()

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()


def _delivery(message: Msg) -> Delivery:
    metadata = message.metadata
    return Delivery(
        stream=metadata.stream,
        sequence=metadata.sequence.stream,
        attempt=metadata.num_delivered or 1,
        subject=message.subject,
        headers=dict(message.headers or {}),
        body=message.data,
    )
