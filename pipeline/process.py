"""One process of MapSeek: any stages, with or without the gateway, on one log, until it is told to stop."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from threadpoolctl import threadpool_limits

from contracts.generations import Generation
from contracts.ports import ImageEncoder
from contracts.stage import Stage
from contracts.subjects import LANES, MESSAGE, RECORD, RETRIES, retry_consumer_name
from infra.discord.gateway import DISCORD, Endpoint, run_gateway, simulator_endpoint
from infra.discord.services import GatewayPorts
from infra.nats.connection import LogAddress, connect, disconnect
from infra.nats.journal import JetStreamJournal
from infra.nats.server import embedded_server, hold_lock
from infra.tasks import cancel_tasks
from pipeline.clock import utc_now
from pipeline.container import Container
from pipeline.engine import topology
from pipeline.engine.job import Job, Policy, Runtime, finish_calls
from pipeline.engine.metrics import Metrics
from pipeline.engine.registry import STAGES
from pipeline.engine.roles import is_restricted
from pipeline.engine.worker import open_workers
from pipeline.generations.hosting import StopGeneration, host_generations
from pipeline.generations.lifecycle import ensure_first_generation
from pipeline.log_address import find_log_address
from pipeline.monitoring.health import (
    Check,
    FetchTimes,
    build_connection_check,
    build_consumer_check,
    build_dependency_check,
    build_ping_check,
    build_work_check,
    serve_monitoring,
)
from pipeline.settings import Settings, ensure_data_folder, require_token
from pipeline.stage_dependencies import open_dependencies
from stages import alert, embed, erase, fingerprint, link, notify, preprocess, remove

log = structlog.get_logger()

SIDE_WORKERS = 2
"""Workers of the stages that are not on an image's way into the archive and that nobody waits for."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """The gateway's task, which ends only with an error. `ready` is set once the gateway is connected to Discord."""

    task: asyncio.Task[None]
    ready: asyncio.Event

    @property
    def check(self) -> Check:
        async def check() -> str | None:
            return None if self.ready.is_set() else "not connected to Discord yet"

        return check


@asynccontextmanager
async def open_gateway(settings: Settings, ports: GatewayPorts, metrics: Metrics) -> AsyncIterator[RunningGateway]:
    """Run the gateway in the background. At the end it records the events that it has received, and logs out."""
    token = require_token(settings)
    if not settings.channels:
        log.info("channels_setting_empty", hint="Set MAPSEEK_CHANNELS to archive more than the channels that managers watch.")
    ready = asyncio.Event()
    task = asyncio.create_task(
        run_gateway(
            token,
            ports,
            channels=settings.channels,
            cdn_origins=settings.cdn_origins,
            endpoint=choose_endpoint(settings),
            on_ready=ready.set,
            on_lost=metrics.posts_lost.inc,
            on_malformed=lambda _event: metrics.malformed_discord_events.inc(),
        ),
        name="gateway",
    )
    try:
        yield RunningGateway(task, ready)
    finally:
        await cancel_tasks(task)


def choose_endpoint(settings: Settings) -> Endpoint:
    """Return the Discord endpoint that the settings choose: the real one or a simulator."""
    return simulator_endpoint(settings.discord_api) if settings.discord_api else DISCORD


@dataclass(frozen=True, slots=True)
class Process:
    """A running process, as the code that opened it sees it."""

    runtime: Runtime
    container: Container
    monitoring_port: int | None
    background: tuple[asyncio.Task[None], ...]


@asynccontextmanager
async def open_log_server(settings: Settings) -> AsyncIterator[LogAddress]:
    """Yield the address of the log server: that of NATS_URL, of a `mapseek up` on the same data folder, or of one started here."""
    folder = ensure_data_folder(settings) / "nats"
    if address := find_log_address(settings):
        yield address
        return
    async with embedded_server(folder, settings.nats_port) as address:
        yield address


@contextmanager
def hold_gateway_lock(settings: Settings) -> Iterator[None]:
    """Make sure that no other process runs the gateway on the data folder, wherever its log is. Raises MapSeekError.

    Discord would send every event to both, and both would answer every command.
    """
    folder = ensure_data_folder(settings)
    refusal = f"Another `mapseek up` or `mapseek gateway` already runs on {folder}: stop it, or set MAPSEEK_DATA_DIR."
    with hold_lock(folder / "gateway.lock", refusal):
        yield


@asynccontextmanager
async def open_process(
    settings: Settings,
    address: LogAddress,
    stages: Sequence[Stage[Any]],
    *,
    with_gateway: bool = False,
    monitored: bool = False,
    policy: Policy | None = None,
    encoders: Sequence[ImageEncoder] = (),
) -> AsyncIterator[Process]:
    """Open what the stages need, start their workers, and the gateway and the monitoring if asked to. Stop all in reverse order.

    `encoders` are used for the generations that they fit, and stay open. At the end, messages in flight are finished or left to the
    next process. Raises MapSeekError if something cannot be opened.
    """
    folder = ensure_data_folder(settings)
    choose_endpoint(settings).use()
    name = f"mapseek-{'-'.join(stage.name for stage in stages) or 'gateway'}"
    async with AsyncExitStack() as stack:
        stack.enter_context(
            threadpool_limits(1, "blas")
        )  # matrices are small: several threads would only spin waiting for each other
        client = await connect(address, name)
        stack.push_async_callback(disconnect, client)
        restricted = is_restricted(address.user_name)
        if restricted:
            await topology.check_topology(client, stages, with_gateway=with_gateway)
        else:
            await topology.ensure_topology(client, STAGES)
        journal = JetStreamJournal(client, source=f"mapseek/{socket.gethostname()}/{os.getpid()}", now=utc_now)
        runtime = Runtime(journal, Metrics(), policy or Policy())
        container = Container(settings, folder, client, journal, stack, encoders, policy)
        generations = await container.generations()
        if embed.STAGE in stages:
            await ensure_first_generation(generations, container.encoders, journal, preprocess.DEFAULT_PREPROCESSING, settings)

        checks: dict[str, Check] = {
            "log": build_connection_check(client),
            "dependencies": build_dependency_check(runtime.waiting_for),
            "work": build_work_check(runtime.metrics.measure_all_oldest),
        }
        if stages:
            await stack.enter_async_context(_run_workers(address, name, stages, container, runtime, checks))
        if "catalogue" in container.opened:
            checks["catalogue"] = build_ping_check(container.opened["catalogue"].ping)

        background: tuple[asyncio.Task[None], ...] = ()
        if with_gateway:
            ports = await container.gateway_ports(runtime.metrics.dead_lettered.labels(RECORD, MESSAGE).inc)
            discord = await stack.enter_async_context(open_gateway(settings, ports, runtime.metrics))
            checks["gateway"] = discord.check
            background = (discord.task,)
        port = None
        if monitored:
            server = serve_monitoring(settings.http_host, settings.http_port, runtime.metrics.registry, checks)
            port = await stack.enter_async_context(server)
        stack.push_async_callback(finish_calls, runtime)
        log.info("process_started", stages=[stage.name for stage in stages], gateway=with_gateway, monitoring_port=port)
        yield Process(runtime, container, port, background)
        log.info("process_stopping")


@asynccontextmanager
async def _run_workers(
    address: LogAddress, name: str, stages: Sequence[Stage[Any]], container: Container, runtime: Runtime, checks: dict[str, Check]
) -> AsyncIterator[None]:
    """Run the workers of the stages: of their lanes, of each generation, and of retried dead letters."""
    fetches, generations, jobs = FetchTimes(), await container.generations(), await _open_jobs(stages, container)
    async with open_workers(address, name, runtime, fetches.record) as pool:

        async def begin(job: Job) -> StopGeneration:
            busy = _build_busy_check(runtime, job.stage.name, job.family)
            checks[job.consumer] = build_consumer_check(container.client, LANES[job.family], job.consumer, fetches, busy)
            return await pool.add(job, _count_workers(job, container.settings))

        async def begin_generation(generation: Generation) -> StopGeneration:
            if embed.STAGE in stages or not is_restricted(address.user_name):
                await topology.ensure_generation_consumers(container.client, STAGES, generations.now, generation.name)
            else:
                await topology.wait_for_generation_consumers(container.client, stages, generations.now, generation.name)
            await container.ensure_vector_index(generation)
            async with AsyncExitStack() as begun:
                begun.push_async_callback(container.encoders.close, generation.name)
                for job in await _open_jobs(stages, container, generation):
                    begun.push_async_callback(await begin(job))
                    begun.callback(checks.pop, job.consumer, None)
                return begun.pop_all().aclose

        async with host_generations(generations, begin_generation) as hosted:
            checks["generations"] = hosted.check
            for job in jobs:
                await begin(job)
            for stage in stages:
                retries = retry_consumer_name(stage.name)
                checks[retries] = build_consumer_check(
                    container.client, RETRIES, retries, fetches, _build_busy_check(runtime, stage.name, *stage.families)
                )
                await pool.add_retries(stage, lambda name: name in generations.now.dropped)
            yield


async def _open_jobs(stages: Sequence[Stage[Any]], container: Container, generation: Generation | None = None) -> list[Job]:
    """Return the jobs of these stages for a generation, or those for all generations at once, with their dependencies opened."""
    by_generation = generation is not None
    return [
        Job(stage, family, await open_dependencies(stage, family, container, generation), generation.name if generation else None)
        for stage in stages
        for family in stage.families
        if stage.list_consumed(family, by_generation=by_generation)
    ]


def _count_workers(job: Job, settings: Settings) -> int:
    if job.family == "search":
        return settings.search_workers
    if job.family == "alert" or job.stage in (link.STAGE, alert.STAGE, notify.STAGE, remove.STAGE, erase.STAGE):
        return SIDE_WORKERS
    if job.stage is embed.STAGE:
        # So that the model never waits: a whole batch must be ready while the one before is embedded or recorded.
        return max(settings.workers, 2 * settings.batch_size)
    if job.stage in (preprocess.STAGE, fingerprint.STAGE):
        # They only use the processor: more workers than cores would only slow a search down.
        return min(settings.workers, os.cpu_count() or 1)
    return settings.workers


def _build_busy_check(runtime: Runtime, stage: str, *families: str) -> Any:
    return lambda: any(runtime.metrics.measure_oldest(stage, family) > 0 for family in families)


async def wait_until_stopped(process: Process) -> None:
    """Return when the task is cancelled, as SIGINT and SIGTERM do. If a background task ends before, raise its error."""
    never = asyncio.get_running_loop().create_future()
    try:
        done, _ = await asyncio.wait({never, *process.background}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if task := asyncio.current_task():
            task.uncancel()
        return
    for ended in done:
        ended.result()
