"""The back-fills of this process: begun by a command, steered by buttons, taken up again after a restart."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageInteraction
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from contracts.state import Backfill, amend, read
from contracts.subjects import backfill_key, backfills_of
from infra.discord.archiving.backfill import Backfilling
from infra.discord.archiving.intake import Intake
from infra.discord.archiving.marks import Place
from infra.discord.archiving.notices import Notices
from infra.discord.archiving.sources import GuildHistory, sources_of
from infra.discord.services import Services

log = structlog.get_logger()

SHOWN_EVERY_S = 4.0
LONGEST_WAIT_S = 300.0
ACTIVE = ("running", "paused")
OUTCOMES = {"pause": "paused", "resume": "running", "cancel": "cancelled"}


class AlreadyActive(Exception):
    """The channel has a back-fill that is running or paused."""


class Backfills:
    """One task for each back-fill that is running. What is stored decides; a task ends when it is no longer to run."""

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._state = services.ports.state
        self._engine = Backfilling(services.ports.state, GuildHistory(bot, Intake(bot, services)), services.recorder)
        self._notices = Notices(bot, services)
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._showing: dict[Place, asyncio.Task[None]] = {}
        self._shown_at: dict[Place, float] = {}

    async def begin(self, guild_id: str, backfill: Backfill) -> None:
        """Store a back-fill and work on it. Raises AlreadyActive, Unavailable."""

        def unless_active(stored: Backfill | None) -> Backfill:
            if stored is not None and stored.state in ACTIVE:
                raise AlreadyActive
            return backfill

        await amend(self._state, backfill_key(guild_id, backfill.channel_id), Backfill, unless_active)
        self._start((guild_id, backfill.channel_id))

    async def steer(self, guild_id: str, channel_id: str, action: str, press: Callable[[Backfill], Backfill]) -> Backfill | None:
        """Pause, resume or cancel; None where there is nothing to steer. `press` may note more about it. Raises Unavailable."""
        key = backfill_key(guild_id, channel_id)
        known = await read(self._state, key, Backfill)
        if known is None:
            return None

        def steered(stored: Backfill | None) -> Backfill:
            backfill = stored or known
            return press(backfill.model_copy(update={"state": OUTCOMES[action]} if backfill.state in ACTIVE else {}))

        backfill = await amend(self._state, key, Backfill, steered)
        if backfill.state == "running":
            self._start((guild_id, channel_id))
        return backfill

    async def of_guild(self, guild_id: str) -> list[Backfill]:
        """The back-fills of a guild that are running or paused. Raises Unavailable."""
        stored = await self._state.under(backfills_of(guild_id))
        backfills = [Backfill.model_validate_json(value) for value in stored.values()]
        return [backfill for backfill in backfills if backfill.state in ACTIVE]

    async def take_up(self) -> None:
        """Work on what was left running, in every guild that the bot is in. Raises Unavailable."""
        for guild in self._bot.guilds:
            for backfill in await self.of_guild(str(guild.id)):
                self._start((str(guild.id), backfill.channel_id))

    async def abandon(self, guild_id: str) -> None:
        """The bot was removed from a guild. Raises Unavailable."""
        for place in [place for place in self._tasks if place[0] == guild_id]:
            self._tasks[place].cancel()
        for key in await self._state.under(backfills_of(guild_id)):
            await self._state.delete(key)

    def stop(self) -> None:
        """The client closes; what is running goes on in the next process."""
        for task in (*self._tasks.values(), *self._showing.values()):
            task.cancel()

    def _start(self, place: Place) -> None:
        known = self._tasks.get(place)
        if known is not None:  # it may be about to end, having seen a pause
            known.add_done_callback(lambda task: None if task.cancelled() else self._start(place))
            return
        task = self._tasks[place] = asyncio.create_task(self._work(place), name=f"backfill-{place[1]}")
        task.add_done_callback(lambda _: self._tasks.pop(place, None))

    async def _work(self, place: Place) -> None:
        """A fault of ours, or one that nobody foresaw, may pass too."""
        again = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_exponential(max=LONGEST_WAIT_S),
            before_sleep=lambda state: log.error(
                "back-fill failed: it is tried again", channel=place[1], exc_info=state.outcome and state.outcome.exception()
            ),
        )
        await again(self._run, place)

    async def _run(self, place: Place) -> None:
        key = backfill_key(*place)
        backfill = await read(self._state, key, Backfill)
        if backfill is not None and backfill.state == "running":
            log.info("back-fill", channel=place[1], done=backfill.done, sources=len(backfill.sources))
            backfill = await self._engine.run(key, backfill, partial(self._show, place))
            log.info("back-fill ended", channel=place[1], state=backfill.state, images=backfill.images)

    async def _show(self, place: Place, backfill: Backfill) -> None:
        """At most every few seconds, beside the work, since Discord may make an edit wait; the end is shown at any rate."""
        showing = self._showing.get(place)
        if backfill.state != "running":
            if showing is not None:
                await asyncio.wait([showing])
            await self._show_now(place, backfill)
        elif (showing is None or showing.done()) and time.monotonic() - self._shown_at.get(place, -SHOWN_EVERY_S) >= SHOWN_EVERY_S:
            self._shown_at[place] = time.monotonic()
            self._showing[place] = asyncio.create_task(self._show_now(place, backfill), name=f"backfill-notice-{place[1]}")

    async def _show_now(self, place: Place, backfill: Backfill) -> None:
        try:
            stored = await read(self._state, backfill_key(*place), Backfill)
            await self._notices.show(place[0], stored or backfill)
        except Exception:
            log.exception("progress of a back-fill not shown", channel=place[1])


async def requested(
    interaction: ApplicationCommandInteraction[Any], services: Services, channel: Any, begin: datetime | None
) -> Backfill:
    """The back-fill that a manager asks for; without sources there is nothing that the bot may read. Raises disnake's errors."""
    sources, unreadable = await sources_of(channel)
    since = str(disnake.utils.time_snowflake(begin)) if begin else "0"
    return Backfill(
        channel_id=str(channel.id),
        sources=tuple(sources),
        since=since,
        until=str(interaction.id),
        position=since,
        unreadable=tuple(unreadable),
        requested_by=str(interaction.author.id),
        requested_at=services.ports.now(),
        locale=services.guilds.of(channel.guild.id).locale or str(interaction.locale),
        application_id=str(interaction.application_id),
        token=interaction.token,
        token_until=interaction.expires_at,
        asked_in=str(interaction.channel.id),
    )


def pressed(interaction: MessageInteraction[Any], backfill: Backfill) -> Backfill:
    """A press on the command's own answer gives it a new lease: the token of the press edits the same message."""
    if backfill.notice is not None:
        return backfill
    return backfill.model_copy(update={"token": interaction.token, "token_until": interaction.expires_at})
