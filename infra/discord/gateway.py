"""The gateway: a disnake client that records events and defers commands. It never downloads or computes.

It connects to the real Discord or to a simulator. An archive belongs to one bot.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import disnake
import orjson
import structlog
from disnake import VoiceClient
from disnake.ext import commands
from disnake.http import Route

from contracts.errors import MapSeekError, Unavailable
from contracts.ports import StateStore
from contracts.state import ArchiveOwner, update_document
from contracts.subjects import owner_key
from infra.discord.archive.marks import ForgottenMembers, HighWaterMarks, RecentChanges
from infra.discord.cogs.alerts import AlertCommands
from infra.discord.cogs.archive import ArchiveCommands
from infra.discord.cogs.buttons import AnswerButtons
from infra.discord.cogs.catchup import CatchUp
from infra.discord.cogs.errors import CommandErrors
from infra.discord.cogs.find import FindCommands, FindTextCommand
from infra.discord.cogs.listener import (
    DeletionListener,
    HiddenImagesCheck,
    HistoryAccessListener,
    LeftGuildCheck,
    PostListener,
    find_channel,
)
from infra.discord.cogs.privacy import PrivacyCommands
from infra.discord.cogs.retries import UnreadableRetries
from infra.discord.completion import UNREADABLE, complete_events, complete_member
from infra.discord.pictures import find_message_id
from infra.discord.recorder import Recorder
from infra.discord.rest.rate_limit import RequestBudget, limit_client
from infra.discord.services import GatewayPorts, GuildSettingsStore, Services
from infra.tasks import cancel_tasks

log = structlog.get_logger()

TOKEN_REFUSED = "Discord refused the token: copy it again from the Bot page of the Discord developer portal."  # noqa: S105
AUTHENTICATION_FAILED = 4004
FLUSH_TIMEOUT_S = 10.0
GUILD_EVENTS = ("guild_join", "guild_available")
OWN_MEMBER_TIMEOUT_S = 10.0
OWN_MEMBER_WAIT_S, MAX_OWN_MEMBER_WAIT_S = 5.0, 300.0
COMMANDS_TASK = "disnake: app_command_preparation"

COGS: tuple[Callable[[commands.InteractionBot, Services], commands.Cog], ...] = (
    PostListener,
    DeletionListener,
    CatchUp,
    HistoryAccessListener,
    LeftGuildCheck,
    HiddenImagesCheck,
    UnreadableRetries,
    ArchiveCommands,
    FindCommands,
    FindTextCommand,
    AnswerButtons,
    AlertCommands,
    PrivacyCommands,
    CommandErrors,
)
"""The cogs of the bot, by area."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API base, and the waits in seconds that go with it: for guilds before ready, and before identifying again."""

    api_base: str = "https://discord.com/api/v10"
    guild_ready_timeout: float = 2.0
    identify_delay: float = 5.0

    def use(self) -> None:
        """Point every disnake client of this process to this endpoint.

        Give them a parser of JSON that reads what disnake's own ends the connection at. Also keep out of the log what disnake
        should not write there: tokens, which it logs at level DEBUG, and its warning about missing voice libraries.
        """
        disnake.utils._from_json = parse_discord_json
        Route.BASE = self.api_base.rstrip("/")
        VoiceClient.warn_nacl = VoiceClient.warn_dave = False
        logger = logging.getLogger("disnake")
        logger.setLevel(max(logger.level, logging.INFO))


DISCORD = Endpoint()


def parse_discord_json(text: str | bytes | bytearray | memoryview) -> Any:
    r"""Parse JSON as Discord sends it: also a string with half a character (`"\ud83d"`), which UTF-8 and orjson cannot hold.

    Raises ValueError for what is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(bytes(text) if isinstance(text, memoryview) else text)


def simulator_endpoint(api_base: str) -> Endpoint:
    """Return the endpoint of a simulator at this API base. It needs no waits."""
    return Endpoint(api_base=api_base, guild_ready_timeout=0.05, identify_delay=0)


async def claim_archive(state: StateStore, bot_id: str) -> None:
    """Store which bot the archive belongs to, at the first call.

    Raises MapSeekError for another bot, and while the log is down. With the token of another bot it would look as if every guild
    had been left.
    """
    try:
        owner = await update_document(state, owner_key(), ArchiveOwner, lambda known: known or ArchiveOwner(bot_id=bot_id))
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: start it, or correct its setting.") from None
    if owner.bot_id != bot_id:
        raise MapSeekError(
            f"This archive belongs to the bot {owner.bot_id}, and DISCORD_TOKEN is that of {bot_id}: "
            "use the other token, or set MAPSEEK_DATA_DIR (or NATS_URL) to give this bot an archive of its own."
        )


INTENT_REFUSED = (
    "Discord refused the Message Content intent: switch it on in the developer portal "
    "(your application, Bot page, Privileged Gateway Intents)."
)


def _ignore(*_: object) -> None:
    """The default hook."""


class GatewayClient(commands.InteractionBot):
    """The Discord client with the least that it needs: no message cache, no members, three intents.

    `on_malformed` is given the name of every event that could not be read or handled.
    """

    def __init__(
        self, endpoint: Endpoint, state: StateStore, on_connected: Callable[[], None], on_malformed: Callable[[str], None]
    ) -> None:
        super().__init__(
            max_messages=None,
            intents=disnake.Intents(guilds=True, guild_messages=True, message_content=True),
            chunk_guilds_at_startup=False,
            member_cache_flags=disnake.MemberCacheFlags.none(),
            allowed_mentions=disnake.AllowedMentions.none(),
            guild_ready_timeout=endpoint.guild_ready_timeout,
            owner_ids={0},  # no command is for the owner, so disnake need not ask Discord for the owner
        )
        self._endpoint = endpoint
        self._state = state
        self._on_connected = on_connected
        self._on_malformed = on_malformed
        complete_events(self._connection)
        self._connection.parsers["MESSAGE_CREATE"] = self._receive_message
        self._finding: set[asyncio.Task[None]] = set()

    def _receive_message(self, payload: Any) -> None:
        """Dispatch a new message as Discord sent it. It is read by us (infra/discord/pictures.py), so disnake need not."""
        channel = find_channel(self, payload)
        if channel is not None:
            channel.last_message_id = find_message_id(payload)
        self.dispatch("message_payload", payload)

    def dispatch(self, event_name: str, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Dispatch an event. If Discord left out the bot's own member of a new guild, the event about it waits for an answer."""
        guilds: Sequence[disnake.Guild] = self.guilds if event_name == "ready" else args if event_name in GUILD_EVENTS else ()
        unknown = [guild for guild in guilds if guild.me is None and not guild.unavailable]
        if not unknown:
            super().dispatch(event_name, *args, **kwargs)
            return
        task = asyncio.create_task(self._find_own_members(unknown, event_name, *args), name="own-members")
        self._finding.add(task)
        task.add_done_callback(self._finding.discard)

    async def _find_own_members(self, guilds: Sequence[disnake.Guild], event_name: str, *args: Any) -> None:
        """Ask Discord once for the bot's member in each guild, and dispatch the event. Then ask on for those that are unknown."""
        missing = [guild for guild in guilds if not await self._find_own_member(guild)]
        super().dispatch(event_name, *args)
        wait_s = OWN_MEMBER_WAIT_S
        while missing and not self.is_closed():
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, MAX_OWN_MEMBER_WAIT_S)
            found = [guild for guild in missing if self.get_guild(guild.id) is not guild or await self._find_own_member(guild)]
            for guild in found:
                missing.remove(guild)
                if guild.me is not None:
                    super().dispatch("member_update", guild.me, guild.me)  # as if the bot had got a role

    async def _find_own_member(self, guild: disnake.Guild) -> bool:
        """Ask Discord for the bot's member in a guild, and return whether it is known."""
        try:
            async with asyncio.timeout(OWN_MEMBER_TIMEOUT_S):
                payload = complete_member(await self.http.get_member(guild.id, self.user.id))
            guild._add_member(disnake.Member(data=payload, guild=guild, state=self._connection))
        except (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError, *UNREADABLE) as error:
            log.warning("own_member_unknown", guild_id=guild.id, error=f"{type(error).__name__}: {error}")
            return False
        return True

    async def login(self, token: str) -> None:
        """Log in. From then on every request keeps to the limits that all processes share. Raises MapSeekError for another bot's
        token.
        """
        await super().login(token)
        limit_client(self.http, RequestBudget(self._state))
        await claim_archive(self._state, str(self.user.id))

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:  # noqa: ARG002
        """Wait, since Discord allows one IDENTIFY in five seconds."""
        if not initial:
            await asyncio.sleep(self._endpoint.identify_delay)

    async def close(self) -> None:
        """Log out, and end the task in which disnake would wait forever for a first connection that did not come."""
        for finding in self._finding:
            finding.cancel()
        await super().close()
        for task in asyncio.all_tasks():
            if task.get_name() == COMMANDS_TASK:
                task.cancel()

    async def on_ready(self) -> None:
        """Report the connection. disnake calls this again after every new session."""
        log.info("discord_connected", bot_name=str(self.user), guild_count=len(self.guilds))
        self._on_connected()

    async def on_gateway_error(self, event: str, _data: Any, _shard_id: int | None, exc: Exception, /) -> None:
        """Log an event that disnake could not read. Its data stays out of the log, since it may hold a token."""
        log.error("gateway_event_malformed", gateway_event=event, exc_info=exc)
        self._on_malformed(event)

    async def on_error(self, event_method: str, *_args: Any, **_kwargs: Any) -> None:
        """Log an event on which one of our listeners failed."""
        log.exception("gateway_event_failed", gateway_event=event_method)
        self._on_malformed(event_method)


async def run_gateway(
    token: str,
    ports: GatewayPorts,
    *,
    channels: frozenset[str] | None,
    cdn_origins: frozenset[str] = frozenset(),
    endpoint: Endpoint = DISCORD,
    on_ready: Callable[[], None] = _ignore,
    on_malformed: Callable[[str], None] = _ignore,
    on_lost: Callable[[], None] = _ignore,
) -> None:
    """Listen until cancelled, then record what still waits and log out.

    `channels` are ids of channels or categories whose images are archived; None, or `all` among them, means every channel.
    `cdn_origins` are trusted for pictures, besides Discord's own. Raises MapSeekError if Discord refuses the token or the intents,
    or cannot be reached at the start.
    """
    endpoint.use()
    services = await _services(ports, channels, cdn_origins, on_lost)
    recorder, marks = services.recorder, services.marks
    bot = GatewayClient(endpoint, ports.state, on_ready, on_malformed)
    for cog in COGS:
        bot.add_cog(cog(bot, services))
    working = [
        asyncio.create_task(recorder.run(), name="recorder"),
        asyncio.create_task(marks.run(), name="marks"),
        asyncio.create_task(_free_slots(services), name="quotas"),
    ]
    connection = asyncio.create_task(_connect(bot, token, endpoint), name="connection")
    try:
        await asyncio.wait({connection})
        connection.result()
    finally:
        connection.cancel()
        await bot.close()  # also ends the connection if it missed the cancellation
        await cancel_tasks(connection)
        await recorder.flush(FLUSH_TIMEOUT_S)
        await cancel_tasks(*working)
        with contextlib.suppress(Unavailable):  # messages after an unsaved mark are read again
            await marks.save()


async def _free_slots(services: Services) -> None:
    """Let a member search again as soon as one of their searches is answered."""
    async for answer in services.ports.follow_answers():
        services.quotas.finish(answer.guild_id, answer.search_id, answer.question.asker.id)


async def _services(
    ports: GatewayPorts, channels: frozenset[str] | None, cdn_origins: frozenset[str], on_lost: Callable[[], None]
) -> Services:
    guilds, forgotten_members, marks = (
        GuildSettingsStore(ports.state),
        ForgottenMembers(ports.state),
        HighWaterMarks(ports.state, ports.now),
    )
    try:
        for stored in (guilds, forgotten_members, marks):
            await stored.load()
    except Unavailable as outage:
        raise MapSeekError(f"The {outage}: start it, or correct its setting.") from None
    recorder = Recorder(ports.journal, on_lost, on_lost_fact=marks.note_lost)
    return Services(ports, recorder, guilds, channels, forgotten_members, marks, RecentChanges(), cdn_origins=cdn_origins)


async def _connect(bot: GatewayClient, token: str, endpoint: Endpoint) -> None:
    try:
        await bot.start(token)
    except disnake.LoginFailure:
        raise MapSeekError(TOKEN_REFUSED) from None
    except disnake.PrivilegedIntentsRequired:
        raise MapSeekError(INTENT_REFUSED) from None
    except disnake.SessionStartLimitReached as error:
        raise MapSeekError(f"Discord allows no more connections of this bot today: {error}") from None
    except disnake.ConnectionClosed as error:
        if error.code == AUTHENTICATION_FAILED:
            raise MapSeekError(TOKEN_REFUSED) from None
        raise MapSeekError(f"Discord closed the connection for good (code {error.code}): {error.reason}") from error
    except (aiohttp.ClientError, OSError, TimeoutError, disnake.HTTPException, disnake.GatewayNotFound) as error:
        raise MapSeekError(f"Discord's API at {endpoint.api_base} cannot be reached ({error}): check the network.") from error
