"""How every message of every stage is processed: decode it, call the stage, record the facts that it returns, acknowledge.

A message that fails is tried again after a delay, held while a dependency is down, or becomes a dead letter.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Protocol, runtime_checkable

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from structlog.contextvars import bound_contextvars

from contracts.envelope import Origin
from contracts.errors import Malformed, Reject, RejectCode, Retry
from contracts.events import AttemptFailed, Fact, MessageBuried
from infra.nats.reader import RecordedFact, decode_fact
from pipeline.engine.dead_letters import Cause, Delivery, read_delivery, record_dead_letter, record_incident, to_one_line
from pipeline.engine.job import (
    PUT_BACK_DELAY_S,
    Job,
    Runtime,
    ShutdownRequested,
    call_until_stop,
    hold_until_available,
    sleep_unless_stopping,
)

log = structlog.get_logger()


@runtime_checkable
class Rejectable(Protocol):
    """A fact about an image or a search that can be turned into the rejection of that image or search."""

    def to_rejection(self, stage: str, code: RejectCode, reason: str) -> Fact: ...


def build_rejection(fact: Fact, job: Job, code: RejectCode, reason: str) -> Fact:
    """Return the rejection of the image or search that a fact is about.

    Raises TypeError for other facts: that is a bug of the stage.
    """
    if not isinstance(fact, Rejectable):
        raise TypeError(f"{fact.type_name()} cannot be rejected")
    return fact.to_rejection(job.stage.name, code, reason)


async def record_all(facts: Sequence[Fact], origin: Origin, cause: str, job: Job, runtime: Runtime) -> None:
    """Record the facts that the stage returned. A fact that exists already was recorded by an earlier delivery."""
    consequence = Origin(origin.correlation_id, cause, origin.replayed or job.is_replay)
    for fact in facts:
        new = await hold_until_available(lambda fact=fact: runtime.journal.record(fact, consequence), job, runtime)  # type: ignore[misc]
        if not new:
            runtime.metrics.already_recorded.labels(*job.labels).inc()


async def retry_or_bury(
    message: Msg,
    delivery: Delivery,
    job: Job,
    runtime: Runtime,
    cause: Cause,
    error: Exception,
    after: float | None,
    recorded: RecordedFact,
) -> bool:
    """Put the message back for a later delivery, or bury it if its attempts are used up.

    Return False if the circuit breaker is open: then the caller tries the same message again.
    """
    reason = str(error) or type(error).__name__
    delay = runtime.policy.retry(job.family).delay(delivery.attempt, after)
    if delivery.attempt < job.stage.attempts:
        runtime.metrics.retried.labels(*job.labels).inc()
        if after is not None:
            # The stage names the delay, so this is no failure: a rate limit, or a blob that is too young to be deleted.
            log.info("message_retried", error=reason, delay_s=round(delay, 2))
        else:
            log.warning("message_retried", error=reason, delay_s=round(delay, 2))
            await _record_incident(AttemptFailed, delivery, job, runtime, reason=to_one_line(reason), delay_s=round(delay, 3))
        await message.nak(delay=delay)
    elif delivery.round or job.consecutive_failures < runtime.policy.breaker_limit:
        # A retried dead letter does not count: there are only as many as somebody put back, so they cannot flood FAILURES, and they
        # do not show that everything fails.
        job.consecutive_failures += not delivery.round
        await bury_message(message, delivery, job, runtime, cause, reason, error, recorded)
    else:
        # Everything fails, so the cause is not the messages: wait here, instead of moving the whole log into FAILURES.
        log.error("circuit_breaker_open", error=reason, failure_count=job.consecutive_failures)
        runtime.waiting_for[job.stage.name] = "circuit breaker"
        await sleep_unless_stopping(delay, runtime)
        return False
    return True


async def bury_message(
    message: Msg,
    delivery: Delivery,
    job: Job,
    runtime: Runtime,
    cause: Cause,
    reason: str,
    error: BaseException | None,
    recorded: RecordedFact | None,
) -> None:
    """Record a dead letter for the message, and reject its search so that the asker gets an answer. Terminate the message last."""

    async def record() -> None:
        await record_dead_letter(runtime.journal, delivery, job.worker, cause=cause, reason=reason, error=error)

    await hold_until_available(record, job, runtime)
    await _record_incident(MessageBuried, delivery, job, runtime, cause=cause, reason=to_one_line(reason))
    search = (recorded or _decode_or_none(delivery)) if job.family == "search" else None
    if search is not None and isinstance(search.fact, Rejectable):
        sentence = f"MapSeek couldn't do this search. Reference for the owner of this bot: {search.origin.correlation_id}"
        rejection = build_rejection(search.fact, job, RejectCode.INTERNAL, sentence)
        await record_all((rejection,), search.origin, delivery.subject, job, runtime)
    await message.term()
    runtime.metrics.dead_lettered.labels(*job.labels).inc()
    log.error("message_dead_lettered", subject=delivery.subject, cause=cause, reason=reason)


async def _record_incident(
    kind: type[AttemptFailed | MessageBuried], delivery: Delivery, job: Job, runtime: Runtime, **more: object
) -> None:
    await hold_until_available(lambda: record_incident(kind, delivery, job.worker, runtime.journal, **more), job, runtime)


def _decode_or_none(delivery: Delivery) -> RecordedFact | None:
    try:
        return decode_fact(delivery.subject, delivery.headers, delivery.body)
    except Malformed:
        return None


async def process_message(message: Msg, job: Job, runtime: Runtime) -> None:
    """Process one delivered message until it is settled. Does not raise for an error of the message or of a dependency."""
    delivery = read_delivery(message)
    started = monotonic()
    runtime.metrics.received.labels(*job.labels).inc()
    correlation = delivery.headers.get("ce-correlationid", delivery.subject)
    with (
        bound_contextvars(correlation_id=correlation, stage=job.stage.name, lane=job.family, attempt=delivery.attempt),
        runtime.metrics.track_message(job.labels),
    ):
        async with _keep_alive(message, runtime.policy.keep_alive_every), _take_turn(job, runtime):
            try:
                while not await _try_to_settle(message, delivery, job, runtime):
                    continue
            except ShutdownRequested:
                log.info("message_returned", subject=delivery.subject)
                await message.nak(delay=PUT_BACK_DELAY_S)
        runtime.metrics.duration.labels(*job.labels).observe(monotonic() - started)


@asynccontextmanager
async def _take_turn(job: Job, runtime: Runtime) -> AsyncIterator[None]:
    """Let messages of the archive lane wait while the search lane has work."""
    if job.family == "search":
        with runtime.precedence.search_in_progress():
            yield
    else:
        await runtime.precedence.wait_for_turn()
        yield


async def _try_to_settle(message: Msg, delivery: Delivery, job: Job, runtime: Runtime) -> bool:
    """Try to settle a message. Return False if the circuit breaker is open and it must be tried again."""
    if delivery.attempt > job.stage.attempts:
        reason = f"delivered {delivery.attempt} times and never finished: the process died while it worked on it, or hung"
        await bury_message(message, delivery, job, runtime, "poison", reason, None, None)
        return True
    try:
        recorded = decode_fact(delivery.subject, delivery.headers, delivery.body)
    except Malformed as error:
        await bury_message(message, delivery, job, runtime, "malformed", str(error), None, None)
        return True
    if not isinstance(recorded.fact, job.stage.consumes):
        await message.ack()
        log.info("message_skipped", subject=delivery.subject, reason="not_consumed")  # since this release, another stage handles it
        return True
    if recorded.origin.replayed and job.stage.live_only:
        await message.ack()
        log.debug("message_skipped", subject=delivery.subject, reason="replayed")
        return True
    started = monotonic()
    try:
        facts = await _call_stage(recorded.fact, job, runtime)
    except Retry as error:
        return await retry_or_bury(message, delivery, job, runtime, "exhausted", error, error.after, recorded)
    except ShutdownRequested:
        raise
    except Exception as error:
        # A bug, or an error that no adapter expects. Nothing is lost: the dead letter keeps the traceback.
        log.exception("stage_failed", subject=delivery.subject)
        return await retry_or_bury(message, delivery, job, runtime, "error", error, None, recorded)
    elapsed_ms = round((monotonic() - started) * 1000)
    await record_all(facts, recorded.origin, delivery.subject, job, runtime)
    await message.ack()
    if job.consecutive_failures:
        job.consecutive_failures = 0
        runtime.waiting_for.pop(job.stage.name, None)
    runtime.metrics.succeeded.labels(*job.labels).inc()
    log.debug("message_handled", subject=delivery.subject, facts=[fact.type_name() for fact in facts], elapsed_ms=elapsed_ms)
    return True


async def _call_stage(fact: Fact, job: Job, runtime: Runtime) -> Sequence[Fact]:
    """Call the stage and return its facts. Turn a Reject into a rejection, and hold the message while a dependency is down."""

    async def handle() -> Sequence[Fact]:
        return await call_until_stop(lambda: job.stage.handle(fact, job.deps), runtime)

    try:
        return await hold_until_available(handle, job, runtime)
    except Reject as rejection:
        log.info("input_rejected", code=rejection.code, reason=rejection.reason)
        runtime.metrics.rejected.labels(*job.labels, rejection.code).inc()
        return (build_rejection(fact, job, rejection.code, rejection.reason),)


@asynccontextmanager
async def _keep_alive(message: Msg, every: float) -> AsyncIterator[None]:
    """Tell the server at intervals that the message is still being worked on."""
    loop = asyncio.get_running_loop()
    notices: set[asyncio.Task[None]] = set()
    timer: asyncio.TimerHandle

    async def notify_server() -> None:
        with suppress(NatsError):
            await message.in_progress()

    def on_timer() -> None:
        nonlocal timer
        notices.add(task := loop.create_task(notify_server()))
        task.add_done_callback(notices.discard)
        timer = loop.call_later(every, on_timer)

    # A timer instead of a task: most messages are finished long before it fires.
    timer = loop.call_later(every, on_timer)
    try:
        yield
    finally:
        timer.cancel()
        for task in notices:
            task.cancel()
