"""What happens to a message whose work failed: it is put back for another attempt, or becomes a dead letter."""

import logging

import structlog
from nats.aio.msg import Msg

from contracts.errors import Malformed, RejectCode
from contracts.events import AttemptFailed, MessageBuried
from infra.nats.reader import Recorded, read
from pipeline.deadletters import Cause, Delivery, bury, one_line
from pipeline.failures.incidents import record_incident
from pipeline.jobs import Job, Runtime, pause, until_available
from pipeline.recording import Rejectable, record_all, rejection_of

log = structlog.get_logger()


async def put_back(
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
        if after is None:
            await _tell(AttemptFailed, delivery, job, runtime, reason=one_line(reason), delay_s=round(delay, 3))
        await message.nak(delay=delay)
    elif delivery.round or job.in_a_row < runtime.policy.breaker_limit:
        # What somebody put back is as much as they put back: it neither floods FAILURES nor says that everything fails.
        job.in_a_row += not delivery.round
        await dead_letter(message, delivery, job, runtime, cause, reason, error, recorded)
    else:
        # Everything fails, so it is not the messages: wait in place rather than empty the whole log into FAILURES.
        log.error("circuit breaker open: every message of this stage fails", reason=reason, in_a_row=job.in_a_row)
        runtime.waiting_for[job.stage.name] = "circuit breaker"
        await pause(delay, runtime)
        return False
    return True


async def dead_letter(
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

    async def record() -> None:
        await bury(runtime.journal, delivery, job.worker, cause=cause, reason=reason, error=error)

    await until_available(record, job, runtime)
    await _tell(MessageBuried, delivery, job, runtime, cause=cause, reason=one_line(reason))
    question = (recorded or _readable(delivery)) if job.family == "search" else None
    if question is not None and isinstance(question.fact, Rejectable):
        apology = f"MapSeek could not work on this picture; the bot's owner finds the cause under {question.origin.correlation_id}."
        rejection = rejection_of(question.fact, job, RejectCode.INTERNAL, apology)
        await record_all((rejection,), question.origin, delivery.subject, job, runtime)
    await message.term()
    runtime.metrics.dead_lettered.labels(*job.labels).inc()
    log.error("dead-lettered", subject=delivery.subject, cause=cause, reason=reason)


async def _tell(kind: type[AttemptFailed | MessageBuried], delivery: Delivery, job: Job, runtime: Runtime, **more: object) -> None:
    await until_available(lambda: record_incident(kind, delivery, job.worker, runtime.journal, **more), job, runtime)


def _readable(delivery: Delivery) -> Recorded | None:
    try:
        return read(delivery.subject, delivery.headers, delivery.body)
    except Malformed:
        return None
