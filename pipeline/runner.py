"""What happens to every message of every stage, once for all: decode, work, record, acknowledge; or retry, hold, bury."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from structlog.contextvars import bound_contextvars

from contracts.errors import Malformed, Reject, Retry
from contracts.events import Fact
from infra.nats.reader import read
from pipeline.deadletters import Delivery, delivery_of
from pipeline.failing import dead_letter, put_back
from pipeline.jobs import PUT_BACK_S, Job, Runtime, Stopping, until_available
from pipeline.recording import record_all, rejection_of

log = structlog.get_logger()


async def run(message: Msg, job: Job, runtime: Runtime) -> None:
    """Work on one delivered message until it is settled. Never raises for what the message or a dependency does."""
    delivery = delivery_of(message)
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
        await dead_letter(message, delivery, job, runtime, "poison", reason, None, None)
        return True
    try:
        recorded = read(delivery.subject, delivery.headers, delivery.body)
    except Malformed as error:
        await dead_letter(message, delivery, job, runtime, "malformed", str(error), None, None)
        return True
    if not isinstance(recorded.fact, job.stage.consumes):
        await message.ack()
        log.info("passed over: another stage's work since this release", subject=delivery.subject)
        return True
    if recorded.origin.replayed and job.stage.live_only:
        await message.ack()
        log.debug("passed over: a replay speaks to nobody", subject=delivery.subject)
        return True
    try:
        facts = await _work(recorded.fact, job, runtime)
    except Retry as error:
        return await put_back(message, delivery, job, runtime, "exhausted", error, error.after, recorded)
    except Stopping:
        raise
    except Exception as error:
        # A bug, or something no adapter foresaw: nothing is lost, and its traceback goes with the dead letter.
        log.exception("stage failed", subject=delivery.subject)
        return await put_back(message, delivery, job, runtime, "error", error, None, recorded)
    await record_all(facts, recorded.origin, delivery.subject, job, runtime)
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
        return await until_available(handle, job, runtime)
    except Reject as rejection:
        log.info("rejected", code=rejection.code, reason=rejection.reason)
        runtime.metrics.rejected.labels(*job.labels, rejection.code).inc()
        return (rejection_of(fact, job, rejection.code, rejection.reason),)


@asynccontextmanager
async def _kept_alive(message: Msg, every: float) -> AsyncIterator[None]:
    """Tell the server, while the work goes on, that it does."""
    loop = asyncio.get_running_loop()
    telling: set[asyncio.Task[None]] = set()
    timer: asyncio.TimerHandle

    async def tell() -> None:
        with suppress(NatsError):
            await message.in_progress()

    def on_time() -> None:
        nonlocal timer
        telling.add(task := loop.create_task(tell()))
        task.add_done_callback(telling.discard)
        timer = loop.call_later(every, on_time)

    # A timer rather than a task: most messages are done with long before it rings.
    timer = loop.call_later(every, on_time)
    try:
        yield
    finally:
        timer.cancel()
        for task in telling:
            task.cancel()
