"""Helpers to run our gateway, or a plain disnake client, on the simulated Discord with in-memory ports."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import disnake
from disnake.ext import commands
from PIL import Image

from contracts.events import AlertSet
from contracts.ports import Alerts, OverviewReader, Posts, StateStore, UnreadableMessages
from infra.discord.gateway import run_gateway, simulator_endpoint
from infra.discord.recorder import Recorder
from infra.discord.services import GatewayPorts
from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Message, Simulator
from tests.support.fakes import FixedOverview, MemoryAlerts, MemoryJournal, MemoryPosts, MemoryState, MemoryUnreadable
from tests.support.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)

INTENTS = disnake.Intents(guilds=True, guild_messages=True, message_content=True)
WAIT_S = 10

NEXT_BUTTON = {"type": 2, "style": 1, "label": "Next", "custom_id": "turn:2"}
BACK_BUTTON = {"type": 2, "style": 2, "label": "Previous", "custom_id": "turn:1", "disabled": True}
LINK_BUTTON = {"type": 2, "style": 5, "label": "Open", "url": "https://discord.com/channels/1/2/3"}


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
        """Use /find with an attachment, by default as Steve in the lounge."""
        attachments = {"image": (name, PNG)}
        return await self.simulator.slash(channel or self.lounge, member or self.steve, "find", attachments=attachments)


@dataclass
class HookCalls:
    """Counts the calls of the gateway's hooks."""

    readies: int = 0
    malformed: list[str] = field(default_factory=list)
    lost: int = 0

    def ready(self) -> None:
        self.readies += 1

    def lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def simulated_discord(**options: Any) -> AsyncIterator[Discord]:
    """Start a simulated Discord. `options` are those of Simulator."""
    async with Simulator(**options) as simulator:
        guild = simulator.add_guild("Cartographers")
        gallery, lounge = (simulator.add_text_channel(guild, name) for name in ("gallery", "lounge"))
        yield Discord(simulator, guild, gallery, lounge, simulator.add_member(guild, "Steve"))


async def no_thumbnail(_: AlertSet) -> bytes | None:
    """Every alert's picture is gone."""
    return None


@asynccontextmanager
async def run_listening_gateway(
    discord: Discord,
    journal: MemoryJournal,
    *,
    state: StateStore | None = None,
    posts: Posts | None = None,
    alerts: Alerts | None = None,
    overseeing: OverviewReader | None = None,
    alert_thumbnail: Callable[[AlertSet], Awaitable[bytes | None]] = no_thumbnail,
    unreadable: UnreadableMessages | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    channels: Sequence[Channel] = (),
    **more: Any,
) -> AsyncIterator[HookCalls]:
    """Run a gateway that watches these channels, by default all. Each port that is not given is a new fake."""
    heard = HookCalls()
    ports = GatewayPorts(
        journal=journal,
        state=state or MemoryState(),
        posts=posts or MemoryPosts(journal),
        alerts=alerts or MemoryAlerts(journal),
        overviews=overseeing or FixedOverview(),
        now=now,
        follow_answers=journal.answered,
        alert_thumbnail=alert_thumbnail,
        unreadable_messages=unreadable or MemoryUnreadable(),
    )
    watched = frozenset(str(channel.id) for channel in channels) or None
    hooks = {"on_ready": heard.ready, "on_malformed": heard.malformed.append, "on_lost": heard.lose}
    endpoint = simulator_endpoint(discord.simulator.api_base)
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


def png_file(width: int = 3, height: int = 2) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


class RecordingBot(commands.InteractionBot):
    """The real client with shorter waits. It keeps every event that it dispatches. `/find` only defers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"intents": INTENTS, "max_messages": None, **options})
        self._connection.guild_ready_timeout = 0.05
        self.events: dict[str, asyncio.Queue[Any]] = {}
        self.seen: list[str] = []
        self.add_slash_command(commands.InvokableSlashCommand(self._find, name="find", description="Find a picture"))

    async def _find(self, inter: disnake.ApplicationCommandInteraction, image: disnake.Attachment, top: int = 3) -> None:
        await inter.response.defer(ephemeral=top == 1)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        pass

    def dispatch(self, event: str, *args: Any, **kwargs: Any) -> None:
        super().dispatch(event, *args, **kwargs)
        self.seen.append(event)
        self.events.setdefault(event, asyncio.Queue()).put_nowait(args[0] if args else None)

    async def next(self, event: str) -> Any:
        return await asyncio.wait_for(self.events.setdefault(event, asyncio.Queue()).get(), WAIT_S)


@asynccontextmanager
async def log_in(sim: Simulator, *, cog: commands.Cog | None = None, **options: Any) -> AsyncIterator[RecordingBot]:
    """Log in a client, and wait until it is ready and has registered its commands. `cog` adds commands."""
    bot = RecordingBot(**options)
    if cog is not None:
        bot.add_cog(cog)
    run = asyncio.create_task(bot.start(sim.token))
    try:
        await bot.next("ready")
        await sim.wait_for_command("find", timeout=WAIT_S)
        yield bot
    finally:
        await bot.close()
        await run


def webhook(sim: Simulator, http: aiohttp.ClientSession, token: str) -> disnake.Webhook:
    return disnake.Webhook({"id": sim.application_id, "type": 3, "token": token}, session=http)


def new_file(name: str = "t.png", data: bytes = b"pixels") -> disnake.File:
    return disnake.File(io.BytesIO(data), name)


@asynccontextmanager
async def run_recorder(recorder: Recorder) -> AsyncIterator[None]:
    """Run a recorder until the block ends."""
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class PressCog(commands.Cog):
    """Responds to a button press as its custom id says."""

    @commands.Cog.listener()
    async def on_button_click(self, inter: disnake.MessageInteraction) -> None:
        match inter.component.custom_id.split(":"):
            case ["turn", _]:
                await inter.response.edit_message(f"page 2 for {inter.author.display_name}", components=[])
            case ["later", _]:
                await inter.response.defer()
                await inter.edit_original_response("changed later", file=new_file())
            case ["copy", _]:
                await inter.response.send_message(
                    "your copy", ephemeral=True, components=[disnake.ui.Button(custom_id="turn:9", label="On")]
                )
            case ["think", _]:
                await inter.response.defer(with_message=True, ephemeral=True)
                await inter.followup.send("thought")
                await inter.followup.send("aloud")
            case ["vote", _]:
                await inter.response.defer()
                await inter.followup.send("thank you", ephemeral=True)
            case ["drop", _]:
                await inter.response.defer()
                await inter.delete_original_response()


async def answer_with_buttons(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession, *buttons: dict[str, Any]) -> Message:
    """Answer an interaction with buttons in one row, and return the message."""
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{asked.token}/messages/@original"
    response = await http.patch(url, json={"content": "page 1", "components": [{"type": 1, "components": list(buttons)}]})
    assert response.status == 200
    return (await sim.answer(asked)).message


def press_button_payload(kind: str) -> dict[str, Any]:
    return {"type": 2, "style": 3, "label": kind.title(), "custom_id": f"{kind}:1"}
