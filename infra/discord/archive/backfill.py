"""Back-fills: archive the older posts of a channel, a forum or a category, page by page, oldest first.

The posts of a page are in the log before the position after it is saved. A page that is read again after a restart records nothing
twice, since the log keeps each image once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import aiohttp
import disnake
import structlog
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, MessageInteraction
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from contracts.errors import Retry, Unavailable
from contracts.ports import StateStore
from contracts.state import Backfill, read_document, update_document
from contracts.subjects import backfill_key, backfills_prefix
from infra.discord.archive.backfill_view import BackfillMessages
from infra.discord.archive.history import (
    MESSAGES_PER_PAGE,
    TYPES_WITH_THREADS,
    UnreadableHistory,
    bot_may_read,
    find_last_id,
    list_archived_threads,
    read_history_page,
)
from infra.discord.archive.intake import TYPES_WITH_MESSAGES, Intake
from infra.discord.archive.marks import ChannelPlace
from infra.discord.pictures import find_message_id
from infra.discord.recorder import Recorder
from infra.discord.services import Services

log = structlog.get_logger()

ProgressCallback = Callable[[Backfill], Awaitable[None]]
"""Called after every page."""

PROGRESS_INTERVAL_S = 4.0
MAX_RETRY_WAIT_S = 300.0
ACTIVE_STATES = ("running", "paused")
STATE_AFTER_ACTION = {"pause": "paused", "resume": "running", "cancel": "cancelled"}


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some messages of a channel.

    `messages` counts them; `last` is the id of the last one, None if there are none; `images` counts the pictures that they show;
    `more` says whether more messages may follow.
    """

    messages: int
    last: int | None
    images: int
    more: bool


class HistoryReader(Protocol):
    """Reads the history of channels, and adds what it shows to the recorder's queue."""

    async def page(self, channel_id: str, after: int, until: int) -> HistoryPage:
        """Read the messages after one id and up to another, oldest first.

        Raise UnreadableHistory, and Retry for an error that may pass.
        """
        ...


class BackfillRunner:
    """Runs one back-fill at a time.

    The document stored under the back-fill's key is authoritative: others pause or cancel the back-fill by changing it.
    """

    def __init__(self, state: StateStore, reader: HistoryReader, recorder: Recorder, *, first_wait_s: float = 1.0) -> None:
        self._state = state
        self._reader = reader
        self._recorder = recorder
        self._first_wait = first_wait_s

    async def run(self, key: str, backfill: Backfill, on_progress: ProgressCallback) -> Backfill:
        """Work until the back-fill is finished, paused or cancelled, and return it in that state.

        An outage of Discord or of the log is waited out.
        """
        while backfill.state == "running":
            retrying = AsyncRetrying(
                retry=retry_if_exception_type((Retry, Unavailable)),
                wait=wait_exponential(multiplier=self._first_wait, max=60),
                before_sleep=lambda state: log.warning("backfill_waiting", error=str(state.outcome and state.outcome.exception())),
            )
            backfill = await retrying(self._step, key, backfill)
            await on_progress(backfill)
        return backfill

    async def _step(self, key: str, backfill: Backfill) -> Backfill:
        started, source = time.monotonic(), backfill.sources[backfill.done]
        try:
            page = await self._reader.page(source, int(backfill.position), int(backfill.until))
        except UnreadableHistory:
            log.warning("history_unreadable", channel_id=source, hint="Grant the bot Read Message History.")
            page, unreadable = HistoryPage(0, None, 0, more=False), (*backfill.unreadable, source)
        else:
            unreadable = backfill.unreadable
        await self._recorder.wait_recorded()
        changes = {
            **_next_position(backfill, page),
            "messages": backfill.messages + page.messages,
            "images": backfill.images + page.images,
            "unreadable": unreadable,
            "worked_s": backfill.worked_s + time.monotonic() - started,
        }
        return await update_document(self._state, key, Backfill, lambda stored: _merge_changes(stored or backfill, changes))


def _next_position(backfill: Backfill, page: HistoryPage) -> dict[str, Any]:
    """Return the changes that say where the next page begins."""
    if page.more and page.last is not None:
        return {"position": str(page.last)}
    return {"position": backfill.since, "done": backfill.done + 1}


def _merge_changes(stored: Backfill, changes: dict[str, Any]) -> Backfill:
    """Add what was found to what is stored, which may have changed since: a cancelled back-fill stays cancelled."""
    merged = stored.model_copy(update=changes)
    if merged.state in ("running", "paused") and merged.done >= len(merged.sources):
        return merged.model_copy(update={"state": "finished"})
    return merged


async def list_sources(channel: Any) -> tuple[list[str], list[str]]:
    """Return the ids of the channels and threads that the bot may read there, and of those that it may not read.

    A category has its channels, a channel or forum its threads. Raises disnake's errors.
    """
    readable: list[str] = []
    unreadable: list[str] = []
    for each in channel.channels if isinstance(channel, disnake.CategoryChannel) else [channel]:
        if not bot_may_read(each):
            unreadable.append(str(each.id))
            continue
        if isinstance(each, TYPES_WITH_MESSAGES):
            readable.append(str(each.id))
        if isinstance(each, TYPES_WITH_THREADS):
            threads = {thread.id for thread in each.guild.threads if thread.parent_id == each.id}
            threads |= {thread.id async for thread in list_archived_threads(each)}
            readable += [str(thread_id) for thread_id in sorted(threads)]
    return readable, unreadable


class GuildHistory:
    """Reads the history of a guild's channels through the bot's client; implements HistoryReader."""

    def __init__(self, bot: commands.InteractionBot, intake: Intake, clock: Callable[[], float]) -> None:
        self._bot = bot
        self._intake = intake
        self._clock = clock
        self._archived_threads: dict[str, Any] = {}

    async def page(self, channel_id: str, after: int, until: int) -> HistoryPage:
        """Record the messages after one id and up to another; none if the channel is gone. Raises UnreadableHistory, Retry."""
        read_at = self._clock()
        try:
            channel = await self._channel(channel_id)
            found = await read_history_page(channel, after)
        except disnake.NotFound:
            return HistoryPage(0, None, 0, more=False)
        except (disnake.Forbidden, disnake.InvalidData) as error:
            raise UnreadableHistory from error
        except (disnake.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry(f"Discord did not return a channel's history: {error}") from error
        wanted = [message for message in found if find_message_id(message) <= until]
        last, images = find_last_id(wanted), self._intake.enqueue(channel, wanted, read_at)
        return HistoryPage(len(wanted), last or None, images, more=len(wanted) == MESSAGES_PER_PAGE and last > after)

    async def _channel(self, channel_id: str) -> Any:
        """Return a channel or thread. The client does not hold archived threads, so they are fetched once."""
        known = self._bot.get_channel(int(channel_id)) or self._archived_threads.get(channel_id)
        if known is None:
            known = self._archived_threads[channel_id] = await self._bot.fetch_channel(int(channel_id))
        return known


class AlreadyActive(Exception):
    """The channel already has a back-fill that is running or paused."""


class Backfills:
    """The back-fills of this process, one task for each that is running.

    A command starts them, buttons pause, resume or cancel them, and a restart resumes them. The stored state decides: a task ends
    when the stored back-fill is no longer running.
    """

    def __init__(self, bot: commands.InteractionBot, services: Services) -> None:
        self._bot = bot
        self._services = services
        self._state = services.ports.state
        self._runner = BackfillRunner(
            services.ports.state, GuildHistory(bot, Intake(bot, services), services.recent_changes.clock), services.recorder
        )
        self._notices = BackfillMessages(bot, services)
        self._tasks: dict[ChannelPlace, asyncio.Task[None]] = {}
        self._showing: dict[ChannelPlace, asyncio.Task[None]] = {}
        self._shown_at: dict[ChannelPlace, float] = {}

    async def begin(self, guild_id: str, backfill: Backfill) -> None:
        """Store a back-fill and start it. Raises AlreadyActive and Unavailable."""

        def replace_inactive(stored: Backfill | None) -> Backfill:
            if stored is not None and stored.state in ACTIVE_STATES:
                raise AlreadyActive
            return backfill

        await update_document(self._state, backfill_key(guild_id, backfill.channel_id), Backfill, replace_inactive)
        self._start((guild_id, backfill.channel_id))

    async def apply_action(
        self, guild_id: str, channel_id: str, action: str, press: Callable[[Backfill], Backfill]
    ) -> Backfill | None:
        """Pause, resume or cancel a back-fill and return it; None if there is none.

        `press` may make further changes to it. Raises Unavailable.
        """
        key = backfill_key(guild_id, channel_id)
        known = await read_document(self._state, key, Backfill)
        if known is None:
            return None

        def act(stored: Backfill | None) -> Backfill:
            backfill = stored or known
            return press(
                backfill.model_copy(update={"state": STATE_AFTER_ACTION[action]} if backfill.state in ACTIVE_STATES else {})
            )

        backfill = await update_document(self._state, key, Backfill, act)
        if backfill.state == "running":
            self._start((guild_id, channel_id))
        return backfill

    async def list_active(self, guild_id: str) -> list[Backfill]:
        """Return the back-fills of a guild that are running or paused. Raises Unavailable."""
        stored = await self._state.list_under(backfills_prefix(guild_id))
        backfills = [Backfill.model_validate_json(value) for value in stored.values()]
        return [backfill for backfill in backfills if backfill.state in ACTIVE_STATES]

    async def resume_all(self) -> None:
        """Start the back-fills that were running when the last process ended, in every guild of the bot. Raises Unavailable."""
        for guild in self._bot.guilds:
            for backfill in await self.list_active(str(guild.id)):
                self._start((str(guild.id), backfill.channel_id))

    async def drop_guild(self, guild_id: str) -> None:
        """Stop and delete the back-fills of a guild that the bot was removed from. Raises Unavailable."""
        for place in [place for place in self._tasks if place[0] == guild_id]:
            self._tasks[place].cancel()
        for key in await self._state.list_under(backfills_prefix(guild_id)):
            await self._state.delete(key)

    def stop(self) -> None:
        """Cancel all tasks because the client closes. Running back-fills continue in the next process."""
        for task in (*self._tasks.values(), *self._showing.values()):
            task.cancel()

    def _start(self, place: ChannelPlace) -> None:
        known = self._tasks.get(place)
        if known is not None:  # it may be about to end because it has seen a pause
            known.add_done_callback(lambda task: None if task.cancelled() else self._start(place))
            return
        task = self._tasks[place] = asyncio.create_task(self._work(place), name=f"backfill-{place[1]}")
        task.add_done_callback(lambda _: self._tasks.pop(place, None))

    async def _work(self, place: ChannelPlace) -> None:
        """Run one back-fill. After an unexpected error it is tried again, since that error may pass, too."""
        again = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_exponential(max=MAX_RETRY_WAIT_S),
            before_sleep=lambda state: log.error(
                "backfill_failed", channel_id=place[1], exc_info=state.outcome and state.outcome.exception()
            ),
        )
        await again(self._run, place)

    async def _run(self, place: ChannelPlace) -> None:
        key = backfill_key(*place)
        backfill = await read_document(self._state, key, Backfill)
        if backfill is not None and backfill.state == "running":
            log.info("backfill_started", channel_id=place[1], done_count=backfill.done, source_count=len(backfill.sources))
            backfill = await self._runner.run(key, backfill, partial(self._show, place))
            log.info("backfill_ended", channel_id=place[1], state=backfill.state, image_count=backfill.images)

    async def _show(self, place: ChannelPlace, backfill: Backfill) -> None:
        """Show the progress at most every few seconds, and always at the end.

        A task of its own does it, since Discord may make an edit wait.
        """
        showing = self._showing.get(place)
        if backfill.state != "running":
            if showing is not None:
                await asyncio.wait([showing])
            await self._show_now(place, backfill)
        elif (showing is None or showing.done()) and time.monotonic() - self._shown_at.get(
            place, -PROGRESS_INTERVAL_S
        ) >= PROGRESS_INTERVAL_S:
            self._shown_at[place] = time.monotonic()
            self._showing[place] = asyncio.create_task(self._show_now(place, backfill), name=f"backfill-notice-{place[1]}")

    async def _show_now(self, place: ChannelPlace, backfill: Backfill) -> None:
        try:
            stored = await read_document(self._state, backfill_key(*place), Backfill)
            await self._notices.show(place[0], stored or backfill)
        except Exception:
            log.exception("backfill_progress_failed", channel_id=place[1])


async def build_backfill(
    interaction: ApplicationCommandInteraction[Any], services: Services, channel: Any, begin: datetime | None
) -> Backfill:
    """Build the back-fill that a manager requests. It has no sources if the bot may read nothing there. Raises disnake's errors."""
    sources, unreadable = await list_sources(channel)
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
        locale=services.guilds.get(channel.guild.id).locale or str(interaction.locale),
        application_id=str(interaction.application_id),
        token=interaction.token,
        token_until=interaction.expires_at,
        asked_in=str(interaction.channel.id),
    )


def renew_token(interaction: MessageInteraction[Any], backfill: Backfill) -> Backfill:
    """Let a press on the command's own answer keep that answer editable: the token of the press edits the same message.

    The command's token expires after a while; the press brings a fresh one.
    """
    if backfill.notice is not None:
        return backfill
    return backfill.model_copy(update={"token": interaction.token, "token_until": interaction.expires_at})
