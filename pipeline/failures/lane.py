"""The retry lane: a dead letter that somebody put back is worked on as it was, by the job that could not work on it."""

from collections.abc import Callable, Iterable

import structlog
from nats.aio.msg import Msg

from contracts.errors import Unavailable
from contracts.events import MessageDiscarded
from contracts.subjects import RETRIES, durable_name, parse_letter
from pipeline.deadletters import TRIED, Worker, delivery_of, without_servers
from pipeline.failures.incidents import record_incident
from pipeline.jobs import Job, Runtime, Stopping, pause
from pipeline.runner import run

log = structlog.get_logger()

NOT_HERE_S = 1.0
"""How long work on a generation that this process has not opened is kept from it, and from the others of its stage."""


async def run_again(message: Msg, jobs: Iterable[Job], dropped: Callable[[str], bool], runtime: Runtime) -> None:
    """Work on what was put back. What is for a generation that was dropped since is thrown away, and said to be."""
    stage, family, _, generation = parse_letter(message.subject)
    of_it = (job for job in jobs if (job.family, job.generation, job.replaying) == (family, generation, False))
    job = next(of_it, None)
    if job is not None:
        await run(message, job, runtime)
    elif generation is not None and dropped(generation):
        worker = Worker(stage, family, durable_name(stage, family, generation), generation)
        try:
            await record_incident(MessageDiscarded, delivery_of(message), worker, runtime.journal)
        except Unavailable:
            await message.nak(delay=NOT_HERE_S)
            return
        await message.ack()
        log.info("a dead letter of a dropped generation is discarded", subject=message.subject)
    else:
        log.info("what was put back cannot be worked on here yet", subject=message.subject)
        await _offer_again(message, runtime)


async def _offer_again(message: Msg, runtime: Runtime) -> None:
    """Leave it to whoever can: to another process, or to this one once it has loaded the model.

    The server counts this delivery, although nothing was tried. A copy, which takes the place of the message, says so: else work
    that waits for a model would be buried as work that kills every process.
    """
    headers = without_servers(dict(message.headers or {})) | {TRIED: str(delivery_of(message).attempt - 1)}
    try:
        await pause(NOT_HERE_S, runtime)
        here = message.metadata.sequence.stream
        await runtime.journal.publish_once(message.subject, message.data, headers, RETRIES, expected=here)
    except (Stopping, Unavailable):
        await message.nak(delay=NOT_HERE_S)
    else:
        await message.ack()
