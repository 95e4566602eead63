"""A gateway with in-memory ports beside the simulated Discord: the real disnake client, and nothing behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contracts.ports import Alerts, Overseeing, Posts, State
from infra.discord.gateway import run_gateway, simulated
from infra.discord.services import Ports
from infra.sandbox.simulator import Channel, Guild, Member, Message, Simulator
from tests.suites.fakes import FixedOverview, MemoryAlerts, MemoryJournal, MemoryPosts, MemoryState
from tests.suites.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@dataclass
class Discord:
    """A simulator with a guild, two channels and a member."""

    simulator: Simulator
    guild: Guild
    gallery: Channel
    lounge: Channel
    steve: Member

    async def post(self, *names: str, channel: Channel | None = None, author: Member | None = None) -> Message:
        files = [(name, PNG) for name in names]
        return await self.simulator.post(channel or self.gallery, author or self.steve, "look", files=files)

    async def find(self, name: str = "shot.png", *, member: Member | None = None, channel: Channel | None = None) -> Any:
        """/find with an attachment, by Steve in the lounge unless told otherwise."""
        attachments = {"image": (name, PNG)}
        return await self.simulator.slash(channel or self.lounge, member or self.steve, "find", attachments=attachments)


@dataclass
class Heard:
    """What the gateway told its hooks."""

    readies: int = 0
    malformed: list[str] = field(default_factory=list)
    lost: int = 0

    def ready(self) -> None:
        self.readies += 1

    def lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def simulated_discord(**options: Any) -> AsyncIterator[Discord]:
    """A simulated Discord, with the simulator's own options."""
    async with Simulator(**options) as simulator:
        guild = simulator.add_guild("Cartographers")
        gallery, lounge = (simulator.add_text_channel(guild, name) for name in ("gallery", "lounge"))
        yield Discord(simulator, guild, gallery, lounge, simulator.add_member(guild, "Steve"))


@asynccontextmanager
async def listening(
    discord: Discord,
    journal: MemoryJournal,
    *,
    state: State | None = None,
    posts: Posts | None = None,
    alerts: Alerts | None = None,
    overseeing: Overseeing | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    channels: Sequence[Channel] = (),
    **more: Any,
) -> AsyncIterator[Heard]:
    """A gateway that watches these channels, or every one; each port is a fake of its own unless it is given."""
    heard = Heard()
    ports = Ports(
        journal=journal,
        state=state or MemoryState(),
        posts=posts or MemoryPosts(journal),
        alerts=alerts or MemoryAlerts(journal),
        overseeing=overseeing or FixedOverview(),
        now=now,
        answered=journal.answered,
    )
    watched = frozenset(str(channel.id) for channel in channels) or None
    hooks = {"on_ready": heard.ready, "on_malformed": heard.malformed.append, "on_lost": heard.lose}
    endpoint = simulated(discord.simulator.api_base)
    gateway = run_gateway(discord.simulator.token, ports, channels=watched, endpoint=endpoint, **hooks, **more)  # type: ignore[arg-type]
    task = asyncio.create_task(gateway, name="gateway")
    try:
        await eventually(lambda: heard.readies or task.done())
        if task.done():
            task.result()
        await discord.simulator.wait_for_command("find")
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
