"""Replay one stage: let it handle a part of the log again. The log refuses facts that it has, so only missing ones are added.

A consumer named after the stage and the part keeps the position, so an interrupted replay resumes where it was. The replay ends at
the entry that was the last one when it began.
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
"""The server deletes the consumer of an interrupted replay that nobody resumes for so long."""

END_KEY, TOTAL_KEY = "mapseek-end", "mapseek-total"
"""Keys of a replay consumer's metadata: the last position, and how many entries there are in all."""

LIVE_ONLY_REASONS = {
    "alert": "it decides who is notified of an image",
    "notify": "it posts on Discord and sends direct messages",
    "reply": "it answers people on Discord, and these searches were answered long ago",
}
"""Why each stage that acts on people cannot be replayed."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the log that the options choose; None means no limit. `since` and `until` compare with the time of recording."""

    since: str | None = None
    until: str | None = None
    from_seq: int | None = None
    image: str | None = None
    guild: str | None = None

    @property
    def digest(self) -> str:
        """A short hash in the consumer's name, by which a later command finds the replay of the same part.

        It depends on `repr(self)`, so this class and its fields must keep their names.
        """
        return hashlib.sha256(repr(self).encode()).hexdigest()[:10]

    def check(self) -> None:
        """Raise MapSeekError if one option contradicts another."""
        if self.since is not None and self.from_seq is not None:
            raise MapSeekError("--since and --from-seq both say where to begin: give only one of them.")


def parse_moment(text: str, now: datetime) -> datetime:
    """Parse a time with its offset, a date (its first moment in UTC), or how long ago (`90m`, `2d`). Raises MapSeekError."""
    try:
        return _moment(text, now)
    except OverflowError:
        raise MapSeekError(f"{text!r} is earlier than the calendar goes: leave it out to replay everything.") from None


def _moment(text: str, now: datetime) -> datetime:
    if ago := re.fullmatch(r"(\d{1,6})([smhdw])", text.strip()):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MapSeekError(
            f"{text!r} is not a time: write a date (2026-11-21), a time (2026-11-21T15:30+01:00) or how long ago (2d)."
        ) from None
    if found.tzinfo is None:
        if re.fullmatch(r"[\d-]+", text.strip()) is None:
            raise MapSeekError(f"{text!r} has no time zone: write {text.strip()}Z, or an offset such as +01:00.")
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the log for a stage, in one lane, and for one generation if the stage works by generation.

    It begins behind the position `after`. Of `total` entries, `left` are still to be handled. `begun` means that this resumes an
    interrupted replay.
    """

    span: ReplaySpan
    family: str
    filters: tuple[str, ...]
    after: int
    total: int
    left: int
    generation: Generation | None = None
    begun: bool = False


@dataclass(slots=True)
class Tally:
    """Counts the facts that a replayed stage makes."""

    made: int = 0

    def count_facts(self, stage: Stage[Any]) -> Stage[Any]:
        """Return the stage with a handler that counts its facts here."""

        async def handle(event: Any, deps: Any) -> Sequence[Fact]:
            facts = await stage.handle(event, deps)
            self.made += len(facts)
            return facts

        return replace(stage, handle=handle)


def check_stage(stage: Stage[Any], part: Part) -> None:
    """Raise MapSeekError for a stage that must not be replayed, and for a part that does not fit the stage."""
    part.check()
    if stage.live_only:
        why = LIVE_ONLY_REASONS.get(stage.name, "it sends messages to people")
        raise MapSeekError(f"The stage {stage.name} cannot be replayed: {why}, and a replay notifies nobody.")
    if part.image is not None and choose_lane(stage) != ImageFact.family:
        raise MapSeekError(
            f"--image picks an archived image, but {stage.name} works in the {choose_lane(stage)} lane: leave it out."
        )


def choose_lane(stage: Stage[Any]) -> str:
    """Return the lane that is replayed: the archive lane if the stage works in it, since old searches need no replay."""
    return ImageFact.family if ImageFact.family in stage.families else stage.families[0]


async def plan_legs(client: Client, stage: Stage[Any], part: Part, generations: Sequence[Generation]) -> list[Leg]:
    """Return what there is to replay: one leg for the facts common to all generations, and one for each of these generations.

    Raises MapSeekError and Unavailable.
    """
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
            span = ReplaySpan(stream, f"{name}-{part.digest}", end)
            found.append(await _with_counts(client, Leg(span, family, filters, after, 0, 0, generation)))
    return found


def _filters(kind: type[Fact], part: Part, generation: Generation | None) -> tuple[str, ...]:
    variant = generation.variant_token(kind.variant) if generation and kind.variant else None
    return selection_filters(kind, variant, part.guild, part.image)


async def _with_counts(client: Client, leg: Leg) -> Leg:
    """Return the leg with its counts. One that was begun keeps its end, and counts what is left."""
    begun = await read_consumer(client, leg.span.stream, leg.span.durable)
    if begun is None:
        total = await _count_between(client, leg, leg.after, leg.span.end)
        return replace(leg, total=total, left=total)
    span = replace(leg.span, end=int(begun.metadata[END_KEY]))
    left = await _count_between(client, leg, begun.delivered, span.end) + begun.in_flight
    return replace(leg, span=span, total=int(begun.metadata[TOTAL_KEY]), left=left, begun=True)


async def _count_between(client: Client, leg: Leg, after: int, end: int) -> int:
    stream = leg.span.stream
    return await count_entries(client, stream, leg.filters, after=after) - await count_entries(
        client, stream, leg.filters, after=max(after, end)
    )


async def play_leg(process: Process, stage: Stage[Any], leg: Leg, limits: Limits, concurrency: Concurrency) -> None:
    """Work until all messages of a leg are settled, then delete its consumer. Raises MapSeekError if a dependency does not open."""
    client = process.container.client
    deps = await open_dependencies(stage, leg.family, process.container, leg.generation)
    job = Job(stage, leg.family, deps, leg.generation.name if leg.generation else None, replay=leg.span.durable)
    if leg.total and not leg.begun:
        await put_consumer(client, _durable(stage, leg))

    async def to_the_end() -> None:
        with suppress(ConsumerDeleted):  # Another process finished it first.
            if leg.left:
                await replay_span(client, leg.span, job, process.runtime, limits, concurrency)
            await delete_consumer(client, leg.span.stream, leg.span.durable)

    await retry_through_outages(to_the_end)


def _durable(stage: Stage[Any], leg: Leg) -> StageConsumer:
    notes = {END_KEY: str(leg.span.end), TOTAL_KEY: str(leg.total)}
    return plan_replay_consumer(
        stage, leg.family, leg.span.durable, leg.filters, leg.after, kept_for=INTERRUPTED_KEPT_FOR, notes=notes
    )
