"""Jobs on FastStream: each worker is a pull subscriber of its own on the durable of its job.

A worker fetches one message, works on it and fetches the next. Nothing is prefetched, so a message that waits for its turn waits on
the server, where no acknowledgement timer runs; and no worker waits for the slowest of a batch (docs/adr/0002).
"""

from collections.abc import Iterable

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.msg import Msg

from contracts.subjects import LANES, durable_name, lane_filter
from pipeline.guards import Fetched, guarded_context
from pipeline.runner import Job, Runtime, run

FETCH_TIMEOUT_S = 5.0
GRACEFUL_TIMEOUT_S = 15.0


async def start_workers(url: str, name: str, jobs: Iterable[tuple[Job, int]], runtime: Runtime, fetched: Fetched) -> NatsBroker:
    """Connect and start the given number of workers for each job. The streams and durables exist already."""
    broker = NatsBroker(
        url,
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        graceful_timeout=GRACEFUL_TIMEOUT_S,
        apply_types=False,
        logger=None,
    )
    await broker.connect()
    guarded_context(broker.config.connection_state.stream, fetched, runtime.stopping)
    for job, workers in jobs:
        for _ in range(workers):
            _subscribe(broker, job, runtime)
    await broker.start()
    return broker


def _subscribe(broker: NatsBroker, job: Job, runtime: Runtime) -> None:
    async def work(message: Msg) -> None:
        await run(message, job, runtime)

    broker.subscriber(
        lane_filter(job.family),
        durable=durable_name(job.stage.name, job.family),
        stream=JStream(LANES[job.family], declare=False),
        pull_sub=PullSub(batch_size=1, timeout=FETCH_TIMEOUT_S),
        decoder=_raw,
        ack_policy=AckPolicy.MANUAL,
        no_reply=True,
    )(work)


async def _raw(message: NatsMessage) -> Msg:
    """Decoding is the runner's, so that unreadable bytes become a dead letter with a reason."""
    return message.raw_message
