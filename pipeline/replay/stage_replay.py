"""A stage goes through a part of the log again. Facts that are there are refused by the log: it makes up for what is missing.

A durable that is named after the stage and the part keeps the place, so that a replay that was interrupted goes on where it was;
its end is the last entry at its start.

Which part of the log a stage is to go through again.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.errors import MapSeekError
from contracts.events import Fact, ImageFact
from contracts.generations import Generation
from contracts.stage import Stage
from contracts.subjects import LANES, consumer_name, selection_filters
from infra.nats.connection import Client
from infra.nats.consumers import delete_consumer, read_consumer
from infra.nats.reader import count_entries, find_sequence_before, read_last_sequence
from pipeline.clock import utc_now
from pipeline.engine.bulk_consumer import Concurrency, ConsumerDeleted, Limits, ReplaySpan, replay_span, retry_through_outages
from pipeline.engine.consumers import StageConsumer, plan_replay_consumer, put_consumer
from pipeline.engine.job import Job
from pipeline.process import Process
from pipeline.stage_dependencies import open_dependencies

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

INTERRUPTED_KEPT_FOR = timedelta(days=30)
"""A replay that was interrupted and never gone on with is forgotten after so long."""

END_KEY, TOTAL_KEY = "mapseek-end", "mapseek-total"
"""What a durable's metadata say of its replay."""

LIVE_ONLY_REASONS = {
    "alert": "it decides who is told of an image",
    "notify": "it posts on Discord and sends direct messages",
    "reply": "it answers people on Discord, who were answered long ago",
}


@dataclass(frozen=True, slots=True)
class Part:
    """As it was asked for; nothing means all. Times are those of recording: `since` a moment, and `until` another one."""

    since: str | None = None
    until: str | None = None
    from_seq: int | None = None
    image: str | None = None
    guild: str | None = None

    @property
    def digest(self) -> str:
        """What the same part is known by when it is asked for once more."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:10]

    def check(self) -> None:
        """Raises MapSeekError where one option contradicts another."""
        if self.since is not None and self.from_seq is not None:
            raise MapSeekError("--since and --from-seq both say where to begin: give one of them.")


def parse_moment(text: str, now: datetime) -> datetime:
    """A time with its offset, a date (its first moment in UTC), or how long ago (`90m`, `2d`). Raises MapSeekError."""
    try:
        return _moment(text, now)
    except OverflowError:
        raise MapSeekError(f"{text!r} is before all calendars: leave it out to mean everything.") from None


def _moment(text: str, now: datetime) -> datetime:
    if ago := re.fullmatch(r"(\d{1,6})([smhdw])", text.strip()):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MapSeekError(
            f"{text!r} is no moment: write a date (2026-11-21), a time (2026-11-21T15:30+01:00) or how long ago (2d)."
        ) from None
    if found.tzinfo is None:
        if re.fullmatch(r"[\d-]+", text.strip()) is None:
            raise MapSeekError(f"{text!r} does not say in which time zone: write {text.strip()}Z or an offset such as +01:00.")
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the log for a stage, in one lane and for one generation where it works by generation.

    `begun` says that a replay that was interrupted is gone on with.
    """

    track: ReplaySpan
    family: str
    filters: tuple[str, ...]
    after: int
    total: int
    left: int
    generation: Generation | None = None
    begun: bool = False


@dataclass(slots=True)
class Tally:
    """What a replay came to: facts that the stage made again, and what its messages ended in."""

    made: int = 0

    def count_facts(self, stage: Stage[Any]) -> Stage[Any]:
        """The stage, with its facts counted."""

        async def handle(event: Any, deps: Any) -> Sequence[Fact]:
            facts = await stage.handle(event, deps)
            self.made += len(facts)
            return facts

        return replace(stage, handle=handle)


def check_stage(stage: Stage[Any], part: Part) -> None:
    """Raises MapSeekError for a stage that a replay must not touch, and for a part that it has nothing to do with."""
    part.check()
    if stage.live_only:
        why = LIVE_ONLY_REASONS.get(stage.name, "it speaks to people")
        raise MapSeekError(f"The stage {stage.name} cannot be replayed: {why}, and a replay tells nobody of anything.")
    if part.image is not None and choose_lane(stage) != ImageFact.family:
        raise MapSeekError(
            f"--image picks an archived image, but {stage.name} works in the {choose_lane(stage)} lane: leave it out."
        )


def choose_lane(stage: Stage[Any]) -> str:
    """The lane that is replayed: the archive, where the stage has anything to do with it, and not old questions."""
    return ImageFact.family if ImageFact.family in stage.families else stage.families[0]


async def plan_legs(client: Client, stage: Stage[Any], part: Part, generations: Sequence[Generation]) -> list[Leg]:
    """What there is to play, for all generations at once and for each of these. Raises MapSeekError and Unavailable."""
    family = choose_lane(stage)
    stream = LANES[family]
    now = utc_now()
    after = max(0, (part.from_seq or 1) - 1)
    end = await read_last_sequence(client, stream)
    if part.since is not None:
        after = await find_sequence_before(client, stream, min(now, parse_moment(part.since, now)))
    if part.until is not None:
        end = min(end, await find_sequence_before(client, stream, min(now, parse_moment(part.until, now))))
    found = []
    for generation in (None, *generations):
        if kinds := stage.list_consumed(family, by_generation=generation is not None):
            filters = tuple(each for kind in kinds for each in _filters(kind, part, generation))
            name = consumer_name(f"replay-{stage.name}", family, generation.name if generation else None)
            track = ReplaySpan(stream, f"{name}-{part.digest}", end)
            found.append(await _as_it_stands(client, Leg(track, family, filters, after, 0, 0, generation)))
    return found


def _filters(kind: type[Fact], part: Part, generation: Generation | None) -> tuple[str, ...]:
    variant = generation.variant_token(kind.variant) if generation and kind.variant else None
    return selection_filters(kind, variant, part.guild, part.image)


async def _as_it_stands(client: Client, leg: Leg) -> Leg:
    """With how much there is to play; one that was begun keeps its end and knows what is left."""
    begun = await read_consumer(client, leg.track.stream, leg.track.durable)
    if begun is None:
        total = await _between(client, leg, leg.after, leg.track.end)
        return replace(leg, total=total, left=total)
    track = replace(leg.track, end=int(begun.metadata[END_KEY]))
    left = await _between(client, leg, begun.delivered, track.end) + begun.in_flight
    return replace(leg, track=track, total=int(begun.metadata[TOTAL_KEY]), left=left, begun=True)


async def _between(client: Client, leg: Leg, after: int, end: int) -> int:
    stream = leg.track.stream
    return await count_entries(client, stream, leg.filters, after=after) - await count_entries(
        client, stream, leg.filters, after=max(after, end)
    )


async def play_leg(process: Process, stage: Stage[Any], leg: Leg, limits: Limits, hands: Concurrency) -> None:
    """Work until a leg is settled, and forget its durable. Raises MapSeekError where what the stage needs cannot be opened."""
    client = process.container.client
    deps = await open_dependencies(stage, leg.family, process.container, leg.generation)
    job = Job(stage, leg.family, deps, leg.generation.name if leg.generation else None, replay=leg.track.durable)
    if leg.total and not leg.begun:
        await put_consumer(client, _durable(stage, leg))

    async def to_the_end() -> None:
        with suppress(ConsumerDeleted):  # another process was through with it first
            if leg.left:
                await replay_span(client, leg.track, job, process.runtime, limits, hands)
            await delete_consumer(client, leg.track.stream, leg.track.durable)

    await retry_through_outages(to_the_end)


def _durable(stage: Stage[Any], leg: Leg) -> StageConsumer:
    notes = {END_KEY: str(leg.track.end), TOTAL_KEY: str(leg.total)}
    return plan_replay_consumer(
        stage, leg.family, leg.track.durable, leg.filters, leg.after, kept_for=INTERRUPTED_KEPT_FOR, notes=notes
    )
