"""The real Discord client as the tests hold it: every event it dispatches is kept, and its waits are shortened."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import disnake
from disnake.ext import commands
from PIL import Image

from infra.sandbox.simulator import Simulator

INTENTS = disnake.Intents(guilds=True, guild_messages=True, message_content=True)
WAIT = 10


def png(width: int = 3, height: int = 2) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


class Bot(commands.InteractionBot):
    """The real client, with every event it dispatches kept and its waits shortened. `/find` only defers."""

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
        return await asyncio.wait_for(self.events.setdefault(event, asyncio.Queue()).get(), WAIT)


@asynccontextmanager
async def logged_in(sim: Simulator, *, cog: commands.Cog | None = None, **options: Any) -> AsyncIterator[Bot]:
    """The client, ready and with its commands registered; `cog` brings more of them."""
    bot = Bot(**options)
    if cog is not None:
        bot.add_cog(cog)
    run = asyncio.create_task(bot.start(sim.token))
    try:
        await bot.next("ready")
        await sim.wait_for_command("find", timeout=WAIT)
        yield bot
    finally:
        await bot.close()
        await run


def webhook(sim: Simulator, http: aiohttp.ClientSession, token: str) -> disnake.Webhook:
    return disnake.Webhook({"id": sim.application_id, "type": 3, "token": token}, session=http)


def shown(name: str = "t.png", data: bytes = b"pixels") -> disnake.File:
    return disnake.File(io.BytesIO(data), name)
