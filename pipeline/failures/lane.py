"""The retry lane: a dead letter that somebody put back is worked on as it was, by the job that could not work on it."""

from collections.abc import Callable, Iterable

import structlog
from nats.aio.msg import Msg

from contracts.errors import Unavailable
from contracts.events import MessageDiscarded
from contracts.subjects import durable_name
from pipeline.deadletters import Worker, delivery_of
from pipeline.failures.incidents import record_incident
from pipeline.jobs import Job, Runtime
from pipeline.runner import run

log = structlog.get_logger()

NOT_HERE_S = 5.0
"""When work on a generation that this process has not opened is offered again: to it, or to another one."""


async def run_again(message: Msg, jobs: Iterable[Job], dropped: Callable[[str], bool], runtime: Runtime) -> None:
    """Work on what was put back. What is for a generation that was dropped since is thrown away, and said to be."""
    stage, family, _, *rest = message.subject.split(".")[2:]
    generation = rest[0] if rest else None
    job = _job_for(family, generation, jobs)
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
        await message.nak(delay=NOT_HERE_S)


def _job_for(family: str, generation: str | None, jobs: Iterable[Job]) -> Job | None:
    """The first release worked on everything without a generation: where it is by generation now, that means the oldest."""
    in_lane = [job for job in jobs if job.family == family and not job.replaying]
    exact = next((job for job in in_lane if job.generation == generation), None)
    return exact or next((job for job in in_lane if generation is None), None)
