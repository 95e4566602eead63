"""Projections in memory that follow the log: open alerts (the Alerts port) and generations. They are built again at every start.

Also the stream of new answers, and the signal that wakes tasks which wait until the log is applied.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime

import structlog
from nats.aio.client import Client

from contracts.events import (
    AlertCancelled,
    AlertDelivered,
    AlertEmbedded,
    AlertFact,
    AlertSet,
    Fact,
    GenerationFact,
    GenerationStarted,
    RemovalRequested,
    SearchAnswered,
)
from contracts.generations import Generations
from contracts.subjects import ALERTS, REMOVALS, SEARCHES, guild_filter, guild_lane_filter, kind_filter, lane_filter, stream_of
from infra.nats.reader import (
    RawEntry,
    decode_entry_or_warn,
    find_last_sequence,
    follow_entries,
    read_entries,
    read_last_sequence,
)
from infra.tasks import cancel_tasks

log = structlog.get_logger()

ALERT_REFRESH_TIMEOUT_S = 1.0
ALERT_SUBJECTS = {ALERTS: lane_filter("alert"), REMOVALS: kind_filter(RemovalRequested)}
"""The subjects that the open alerts are built from, by stream. A purge is no message, so the removal request tells that a forgotten
person's alerts were purged."""

_STREAM = stream_of(GenerationStarted)
_SUBJECTS = lane_filter(GenerationFact.family)


class ChangeSignal:
    """Wakes waiting tasks after every applied change. If following the log fails, they raise RuntimeError with the text `ended`."""

    def __init__(self, ended: str) -> None:
        self._ended = ended
        self._changed = asyncio.Condition()
        self._failure: Exception | None = None

    async def notify(self) -> None:
        """Wake the waiting tasks: a change was applied."""
        async with self._changed:
            self._changed.notify_all()

    async def fail(self, error: Exception) -> None:
        """Make all waiting tasks fail, now and later: no more changes will be applied."""
        self._failure = error
        await self.notify()

    async def until(self, applied: Callable[[], bool]) -> None:
        """Wait until `applied()` is true. Raises RuntimeError if following the log failed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._failure is not None or applied())
        if self._failure is not None:
            raise RuntimeError(self._ended) from self._failure


class OpenAlerts:
    """The open alerts by guild and key: each as it was set, and with its vector in every other generation."""

    def __init__(self) -> None:
        self._open: dict[str, dict[tuple[str, ...], dict[str, AlertSet]]] = {}
        self._ended: set[tuple[str, ...]] = set()
        self._forgotten: dict[tuple[str, str], datetime] = {}

    def apply(self, fact: Fact) -> None:
        """Apply a fact. The facts of the two streams may come in any order."""
        match fact:
            case AlertSet():
                if fact.key not in self._ended and not self._is_forgotten(fact):
                    self._open.setdefault(fact.guild_id, {})[fact.key] = {fact.generation: fact}
            case AlertEmbedded():
                if (vectors := self._open.get(fact.guild_id, {}).get(_alert_key(fact))) is not None:
                    as_set = next(iter(vectors.values()))
                    update = {"generation": fact.generation, "vector": fact.vector, "calibration": fact.calibration}
                    vectors.setdefault(fact.generation, as_set.model_copy(update=update))
            case AlertCancelled() | AlertDelivered(outcome="direct" | "mention"):
                self._ended.add(_alert_key(fact))
                self._open.get(fact.guild_id, {}).pop(_alert_key(fact), None)
            case RemovalRequested(scope="author"):
                person = fact.guild_id, fact.target
                self._forgotten[person] = max(fact.requested_at, self._forgotten.get(person, fact.requested_at))
                for alert in self.of(fact.guild_id, fact.target):
                    if self._is_forgotten(alert):
                        del self._open[fact.guild_id][alert.key]

    def of(self, guild_id: str, person_id: str | None) -> list[AlertSet]:
        """Return the alerts of a guild or of one person, oldest first, as they were set."""
        alerts = [next(iter(vectors.values())) for vectors in self._open.get(guild_id, {}).values()]
        return _sort_by_age(alert for alert in alerts if person_id in (None, alert.person.id))

    def in_generation(self, guild_id: str, generation: str) -> list[AlertSet]:
        """Return the alerts of a guild that have a vector of a generation, oldest first, with that vector."""
        return _sort_by_age(vectors[generation] for vectors in self._open.get(guild_id, {}).values() if generation in vectors)

    def _is_forgotten(self, alert: AlertSet) -> bool:
        until = self._forgotten.get((alert.guild_id, alert.person.id))
        return until is not None and alert.requested_at <= until


def _alert_key(fact: AlertFact) -> tuple[str, ...]:
    """Return the key of the alert that a fact is about."""
    return (fact.guild_id, fact.alert_id, fact.person.id)


def _sort_by_age(alerts: Iterable[AlertSet]) -> list[AlertSet]:
    return sorted(alerts, key=lambda each: each.requested_at)


class FollowedAlerts:
    """The Alerts port on the part of the log that was read so far. Open it with `open_alerts`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._alerts = OpenAlerts()
        self._positions = dict.fromkeys(ALERT_SUBJECTS, 0)
        self._wake = {stream: asyncio.Event() for stream in ALERT_SUBJECTS}
        self._signal = ChangeSignal("the open alerts do not follow the log any more")

    async def list_open(self, guild_id: str, person_id: str | None = None) -> Sequence[AlertSet]:
        """Return the open alerts. What cannot be read within a second is left out until the next call. Raises Unavailable."""
        await self._refresh(guild_id)
        return self._alerts.of(guild_id, person_id)

    async def list_comparable(self, guild_id: str, generation: str) -> Sequence[AlertSet]:
        """Return the alerts with a vector of a generation. What cannot be read within a second is left out. Raises Unavailable."""
        await self._refresh(guild_id)
        return self._alerts.in_generation(guild_id, generation)

    async def _refresh(self, guild_id: str) -> None:
        wanted = {
            ALERTS: await find_last_sequence(self._client, ALERTS, guild_lane_filter("alert", guild_id)),
            REMOVALS: await find_last_sequence(self._client, REMOVALS, guild_filter(RemovalRequested, guild_id)),
        }
        with suppress(TimeoutError):
            async with asyncio.timeout(ALERT_REFRESH_TIMEOUT_S):
                await self._wait_for_positions(wanted)

    async def wait_until_current(self) -> None:
        """Wait until everything in the log is applied. Do not wait for an entry that is purged during the call."""
        while True:
            wanted = {
                stream: await find_last_sequence(self._client, stream, subjects) for stream, subjects in ALERT_SUBJECTS.items()
            }
            with suppress(TimeoutError):
                async with asyncio.timeout(ALERT_REFRESH_TIMEOUT_S):
                    return await self._wait_for_positions(wanted)

    async def keep_up(self, stream: str) -> None:
        """Apply one stream without end. If that fails, every later call fails too, instead of returning old data."""
        try:
            async for entry in follow_entries(self._client, stream, ALERT_SUBJECTS[stream], wake=self._wake[stream]):
                recorded = decode_entry_or_warn(entry)
                if recorded is not None:
                    self._alerts.apply(recorded.fact)
                self._positions[stream] = entry.sequence
                await self._signal.notify()
        except Exception as error:
            log.exception("alerts_follow_failed", stream=stream)
            await self._signal.fail(error)

    async def _wait_for_positions(self, wanted: dict[str, int]) -> None:
        for stream, last in wanted.items():
            if self._positions[stream] < last:
                self._wake[stream].set()
        await self._signal.until(lambda: all(self._positions[stream] >= last for stream, last in wanted.items()))


@asynccontextmanager
async def open_alerts(client: Client) -> AsyncIterator[FollowedAlerts]:
    """Read the log, then keep following it. Raises Unavailable if it cannot be reached."""
    alerts = FollowedAlerts(client)
    tasks = [asyncio.create_task(alerts.keep_up(stream)) for stream in ALERT_SUBJECTS]
    try:
        await alerts.wait_until_current()
        yield alerts
    finally:
        await cancel_tasks(*tasks)


async def read_generations(client: Client) -> Generations:
    """Read the generations that the log has now. Raises Unavailable."""
    generations, _ = await _read_with_position(client)
    return generations


class FollowedGenerations:
    """The generations as the log has them: `now` is always current. Open it with `open_generations`."""

    def __init__(self, now: Generations) -> None:
        self.now = now
        self._wake = asyncio.Event()
        self._signal = ChangeSignal("the generations do not follow the log any more")

    async def until(self, holds: Callable[[Generations], bool]) -> Generations:
        """Wait until `holds(now)` is true and return `now`. Raises RuntimeError if following the log failed."""
        self._wake.set()
        await self._signal.until(lambda: holds(self.now))
        return self.now

    async def keep_up(self, client: Client, after: int) -> None:
        """Apply what is recorded behind a position of the log, without end."""
        try:
            async for entry in follow_entries(client, _STREAM, _SUBJECTS, after=after, wake=self._wake):
                self.now = _apply_entry(self.now, entry)
                await self._signal.notify()
        except Exception as error:
            log.exception("generations_follow_failed", stream=_STREAM)
            await self._signal.fail(error)


@asynccontextmanager
async def open_generations(client: Client) -> AsyncIterator[FollowedGenerations]:
    """Read the generations, then keep following the log. Raises Unavailable if it cannot be read."""
    now, position = await _read_with_position(client)
    generations = FollowedGenerations(now)
    following = asyncio.create_task(generations.keep_up(client, position))
    try:
        yield generations
    finally:
        await cancel_tasks(following)


async def _read_with_position(client: Client) -> tuple[Generations, int]:
    """Read the generations, and return the sequence of the last fact about them."""
    generations, position = Generations(), 0
    async with aclosing(read_entries(client, _STREAM, _SUBJECTS)) as entries:
        async for entry in entries:
            generations = _apply_entry(generations, entry)
            position = entry.sequence
    return generations, position


def _apply_entry(generations: Generations, entry: RawEntry) -> Generations:
    recorded = decode_entry_or_warn(entry)
    return generations if recorded is None else generations.with_fact(recorded.fact, entry.sequence)


async def follow_answers(client: Client) -> AsyncIterator[SearchAnswered]:
    """Yield every answer that any process records after the call, without end."""
    async for entry in follow_entries(
        client, SEARCHES, kind_filter(SearchAnswered), after=await read_last_sequence(client, SEARCHES)
    ):
        recorded = decode_entry_or_warn(entry)
        if recorded is not None and isinstance(recorded.fact, SearchAnswered):
            yield recorded.fact
