"""The gateway as part of a process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from infra.discord.gateway import DISCORD, Endpoint, run_gateway, simulated
from infra.discord.services import Ports
from infra.tasks import cancel
from pipeline.monitoring.health import Check
from pipeline.monitoring.metrics import Metrics
from pipeline.settings import Settings, require_token

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """The gateway's task, which ends only with an error, and whether it hears Discord."""

    task: asyncio.Task[None]
    ready: asyncio.Event

    @property
    def check(self) -> Check:
        async def check() -> str | None:
            return None if self.ready.is_set() else "not connected to Discord yet"

        return check


@asynccontextmanager
async def gateway(settings: Settings, ports: Ports, metrics: Metrics) -> AsyncIterator[RunningGateway]:
    """Run the gateway in the background; at the end it records what it has heard and logs out."""
    token = require_token(settings)
    if not settings.channels:
        log.info("only channels that managers watch with `/archive watch add` are archived: MAPSEEK_CHANNELS names none")
    ready = asyncio.Event()
    task = asyncio.create_task(
        run_gateway(
            token,
            ports,
            channels=settings.channels,
            cdn_origins=settings.cdn_origins,
            endpoint=endpoint(settings),
            on_ready=ready.set,
            on_lost=metrics.posts_lost.inc,
            on_malformed=lambda _event: metrics.malformed_discord_events.inc(),
        ),
        name="gateway",
    )
    try:
        yield RunningGateway(task, ready)
    finally:
        await cancel(task)


def endpoint(settings: Settings) -> Endpoint:
    """The Discord that the settings name."""
    return simulated(settings.discord_api) if settings.discord_api else DISCORD
