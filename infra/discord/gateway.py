"""The gateway: a disnake client that records what it hears and defers what it is asked. It never downloads or computes."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import aiohttp
import disnake
import structlog
from disnake.ext import commands

from contracts.errors import MapSeekError
from contracts.ports import Journal
from infra.discord.archiving import Archiving
from infra.discord.asking import Asking
from infra.discord.endpoint import DISCORD, Endpoint
from infra.discord.recorder import Recorder

log = structlog.get_logger()

REFUSED = "Discord refused the token: copy the bot's token anew from the Bot page of the Discord developer portal."
NO_INTENT = (
    "Discord refused the Message Content intent: switch it on in the developer portal "
    "(your application, Bot page, Privileged Gateway Intents)."
)
AUTHENTICATION_FAILED = 4004
FLUSH_TIMEOUT = 10.0
COMMANDS_TASK = "disnake: app_command_preparation"


def _ignore(*_: object) -> None:
    """The default hook."""


class Gateway(commands.InteractionBot):
    """The client with the least that it needs: no message cache, no members, three intents.

    `on_malformed` is told the name of every event that could not be read or handled.
    """

    def __init__(self, endpoint: Endpoint, on_connected: Callable[[], None], on_malformed: Callable[[str], None]) -> None:
        super().__init__(
            max_messages=None,
            intents=disnake.Intents(guilds=True, guild_messages=True, message_content=True),
            chunk_guilds_at_startup=False,
            member_cache_flags=disnake.MemberCacheFlags.none(),
            allowed_mentions=disnake.AllowedMentions.none(),
            guild_ready_timeout=endpoint.guild_ready_timeout,
        )
        self._endpoint = endpoint
        self._on_connected = on_connected
        self._on_malformed = on_malformed

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:  # noqa: ARG002
        """Discord allows one IDENTIFY in five seconds."""
        if not initial:
            await asyncio.sleep(self._endpoint.identify_delay)

    async def close(self) -> None:
        """Log out, and end the task in which disnake would wait for ever for a first connection that did not come."""
        await super().close()
        for task in asyncio.all_tasks():
            if task.get_name() == COMMANDS_TASK:
                task.cancel()

    async def on_ready(self) -> None:
        """Called again after every new session."""
        log.info("connected to Discord", user=str(self.user), guilds=len(self.guilds))
        self._on_connected()

    async def on_gateway_error(self, event: str, _data: Any, _shard_id: int | None, exc: Exception, /) -> None:
        """disnake could not read an event. Its data stays out of the log: it may hold a token."""
        log.error("malformed event from Discord", gateway_event=event, exc_info=exc)
        self._on_malformed(event)

    async def on_error(self, event_method: str, *_args: Any, **_kwargs: Any) -> None:
        """A listener of ours failed on an event."""
        log.exception("event not handled", gateway_event=event_method)
        self._on_malformed(event_method)


async def run_gateway(
    token: str,
    journal: Journal,
    *,
    channels: frozenset[str] | None,
    endpoint: Endpoint = DISCORD,
    on_ready: Callable[[], None] = _ignore,
    on_malformed: Callable[[str], None] = _ignore,
    on_lost: Callable[[], None] = _ignore,
) -> None:
    """Listen until cancelled, then record what is still waiting and log out.

    `channels` are ids of channels or categories whose images are archived; None, or `all` among them, is every channel.
    Raises MapSeekError when Discord refuses the token or the intents, or cannot be reached at the start.
    """
    endpoint.use()
    recorder = Recorder(journal, on_lost)
    bot = Gateway(endpoint, on_ready, on_malformed)
    bot.add_cog(Archiving(bot, recorder, channels))
    bot.add_cog(Asking(journal))
    recording = asyncio.create_task(recorder.run(), name="recorder")
    try:
        await _connect(bot, token, endpoint)
    finally:
        await bot.close()
        await recorder.flush(FLUSH_TIMEOUT)
        recording.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await recording


async def _connect(bot: Gateway, token: str, endpoint: Endpoint) -> None:
    try:
        await bot.start(token)
    except disnake.LoginFailure:
        raise MapSeekError(REFUSED) from None
    except disnake.PrivilegedIntentsRequired:
        raise MapSeekError(NO_INTENT) from None
    except disnake.SessionStartLimitReached as error:
        raise MapSeekError(f"Discord allows no more connections of this bot today: {error}") from None
    except disnake.ConnectionClosed as error:
        if error.code == AUTHENTICATION_FAILED:
            raise MapSeekError(REFUSED) from None
        raise MapSeekError(f"Discord closed the connection for good (code {error.code}): {error.reason}") from error
    except (aiohttp.ClientError, OSError, TimeoutError, disnake.HTTPException, disnake.GatewayNotFound) as error:
        raise MapSeekError(f"Discord's API at {endpoint.api_base} cannot be reached ({error}): check the network.") from error
