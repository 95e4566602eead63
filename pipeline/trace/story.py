"""The story of an image or a search: every step with its time, its process and the time since its cause; and the status of now.

The status is one line, and what each generation and the catalogue have of the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from contracts.errors import Malformed, format_count
from contracts.events import (
    AttemptFailed,
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageHidden,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    ImageReposted,
    ImageShown,
    ImageTurn,
    Incident,
    MessageBuried,
    MessageDiscarded,
    MessageRequeued,
    SearchAnswered,
    SearchDescribed,
    SearchDownloaded,
    SearchEmbedded,
    SearchFact,
    SearchFingerprinted,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
)
from contracts.generations import Generation, Generations
from contracts.stage import Stage
from infra.nats.reader import RawEntry, decode_fact
from pipeline.failures.letters import Letter
from pipeline.failures.render import find_tokens, hide_tokens
from pipeline.trace.lookup import EntityHistory

NEXT_STAGE: dict[type[Fact], str] = {
    ImagePosted: "download",
    ImageDownloaded: "preprocess",
    ImagePreprocessed: "embed",
    ImageEmbedded: "persist",
    SearchRequested: "download",
    SearchDescribed: "embed",
    SearchDownloaded: "preprocess",
    SearchPreprocessed: "fingerprint",
    SearchFingerprinted: "embed",
    SearchEmbedded: "match",
    SearchMatched: "reply",
    SearchRejected: "reply",
}
"""The stage that handles each fact next, in the order in which an image or a search passes through them."""


@dataclass(frozen=True, slots=True)
class TraceStep:
    """Something that happened. The field names are keys of `--json`.

    `after_s` is the time since the fact that caused it was recorded, or None if that is not known.
    """

    at: datetime | None
    stage: str
    what: str
    process: str
    after_s: float | None = None
    generation: str | None = None
    detail: str = ""
    bad: bool = False
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """All steps in order, and those of their facts that this version can read."""

    steps: Sequence[TraceStep]
    facts: Sequence[Fact]


def build_story(found: EntityHistory, stages: Iterable[Stage[Any]]) -> Story:
    """Return the facts and incidents as steps, in the order of their times."""
    emitters = {kind: stage.name for stage in stages for kind in stage.emits}
    times = {entry.subject: _read_time(entry) for entry in found.facts}
    facts = {entry.subject: fact for entry in (*found.facts, *found.incidents) if (fact := _read_fact(entry)) is not None}
    tokens = {token for fact in facts.values() for token in find_tokens(fact.model_dump(mode="json"))}
    steps = [_step_from_fact(entry, facts.get(entry.subject), emitters, times) for entry in found.facts]
    steps += [
        _step_from_incident(fact, times.get(entry.headers.get("ce-causationid", "")))
        for entry in found.incidents
        if isinstance(fact := facts.get(entry.subject), Incident)
    ]
    steps.sort(key=lambda step: (step.at is None, step.at.timestamp() if step.at else 0.0))
    shown = [replace(step, detail=hide_tokens(step.detail, tokens)) for step in steps]
    return Story(shown, [fact for fact in facts.values() if not isinstance(fact, Incident)])


def _step_from_fact(
    entry: RawEntry, fact: Fact | None, emitters: Mapping[type[Fact], str], times: Mapping[str, datetime | None]
) -> TraceStep:
    headers, at = entry.headers, _read_time(entry)
    cause = times.get(headers.get("ce-causationid", ""))
    name = ".".join(entry.subject.split(".")[1:3])
    stage = fact.stage if isinstance(fact, ImageRejected | SearchRejected) else emitters.get(type(fact), "") if fact else ""
    return TraceStep(
        at=at,
        stage=stage or _name_source(fact, headers),
        what=name.partition(".")[2],
        process=headers.get("ce-source", "").removeprefix("mapseek/"),
        after_s=(at - cause).total_seconds() if at and cause else None,
        generation=getattr(fact, "generation", None),
        detail="cannot be read by this version" if fact is None else _format_detail(fact),
        bad=fact is None or isinstance(fact, ImageRejected | SearchRejected),
        replayed="mapseek-replayed" in headers,
    )


def _name_source(fact: Fact | None, headers: Mapping[str, str]) -> str:
    """Return the name for the source of a fact that no stage recorded: a fact without a cause came from the gateway."""
    return "gateway" if fact is not None and "ce-causationid" not in headers else "-"


def _step_from_incident(fact: Incident, cause: datetime | None) -> TraceStep:
    after = (fact.happened_at - cause).total_seconds() if cause else None
    step = TraceStep(fact.happened_at, fact.stage, "", fact.process.removeprefix("mapseek/"), after, fact.generation, bad=True)
    which = f"attempt {fact.attempt}" + (f" of round {fact.round + 1}" if fact.round else "")
    match fact:
        case AttemptFailed():
            return replace(step, what=f"{which} failed", detail=f"{fact.reason}; tried again after {fact.delay_s:.3g} s")
        case MessageBuried():
            return replace(step, what="dead letter", detail=f"{which} was the last ({fact.cause}): {fact.reason}")
        case MessageRequeued():
            return replace(step, what="retried by hand", bad=False)
        case MessageDiscarded():
            return replace(step, what="discarded by hand")
    return replace(step, what=fact.name)


def _format_detail(fact: Fact) -> str:
    match fact:
        case ImagePosted():
            return f"{fact.filename} by {fact.author.name}"
        case ImageRejected() | SearchRejected():
            return fact.reason
        case ImageFingerprinted():
            return f"{fact.features} features, hash of quality {fact.quality}"
        case SearchFingerprinted():
            return format_count(len(fact.places), "region")
        case ImageReposted():
            return f"the same piece as {fact.same_as} ({fact.score:.3f})"
        case ImageHidden():
            return "its message does not show it any more, so nobody finds it"
        case ImageShown():
            return f"its message shows it{' as a spoiler' if fact.spoiler else ''}"
        case ImageRemoved():
            return f"{_describe_cause(fact)}: only its id and the time are kept"
        case SearchDescribed():
            return f"{fact.words!r} by {fact.question.asker.name}"
        case SearchRequested():
            return f"{fact.filename} by {fact.question.asker.name}"
        case SearchMatched():
            return ", ".join([fact.verdict, *(f"{match.image_id} ({match.score:.3f})" for match in fact.matches)])
        case SearchAnswered():
            return f"{fact.verdict}, {fact.outcome}"
        case SearchFact():
            return ""
    return f"{size} bytes" if (size := getattr(fact, "size", None)) else ""


def _describe_cause(fact: ImageRemoved) -> str:
    return "not shown for a week" if fact.expired else fact.cause


def _read_time(entry: RawEntry) -> datetime | None:
    """Return when the entry was recorded, by the clock of the process that recorded it."""
    try:
        return datetime.fromisoformat(entry.headers.get("ce-time", ""))
    except ValueError:
        return None


def _read_fact(entry: RawEntry) -> Fact | None:
    try:
        return decode_fact(entry.subject, entry.headers, entry.body).fact
    except Malformed:
        return None


@dataclass(frozen=True, slots=True)
class CatalogueStatus:
    """What the catalogue has of an image. The field names are keys of `--json`.

    `there` is None if the catalogue could not be read. `vectors` are the generations whose vector it has.
    """

    there: bool | None = None
    removed: bool = False
    vectors: frozenset[str] = frozenset()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImageInGeneration:
    """What a generation has of an image. The field names are keys of `--json`."""

    name: str
    active: bool
    fingerprinted: bool
    embedded: bool
    indexed: bool
    in_catalogue: bool


@dataclass(frozen=True, slots=True)
class EntityStatus:
    """The status of an image or a search: one line for people, whether all is well, and what each generation has."""

    line: str
    well: bool
    generations: Sequence[ImageInGeneration] = field(default_factory=tuple)


def describe_status(
    found: EntityHistory, facts: Sequence[Fact], generations: Generations, catalogue: CatalogueStatus
) -> EntityStatus:
    """Return the status by these facts. A removed image has no other status."""
    for fact in facts:
        if isinstance(fact, ImageRemoved):
            return EntityStatus(f"removed on {fact.removed_at:%Y-%m-%d %H:%M:%S} UTC ({_describe_cause(fact)})", well=True)
    per_generation = [_build_generation_status(generation, facts, generations, catalogue) for generation in generations.alive]
    image = found.entity.kind == "image"
    open_ends = [f"is a dead letter: see `mapseek failures show {letter.id}`" for letter in found.letters]
    open_ends += [
        f"was retried by hand and waits for {letter.worker.stage}{_format_generation(letter)}" for letter in found.waiting
    ]
    end = _describe_image(facts, per_generation, bool(open_ends)) if image else _describe_search(facts, bool(open_ends))
    return EntityStatus(
        "; ".join(filter(None, (end, *open_ends))),
        well=not open_ends and not any(isinstance(fact, ImageRejected | SearchRejected) for fact in facts),
        generations=per_generation if image else (),
    )


def _format_generation(letter: Letter) -> str:
    return f" in {letter.worker.generation}" if letter.worker.generation else ""


def _build_generation_status(
    generation: Generation, facts: Sequence[Fact], generations: Generations, catalogue: CatalogueStatus
) -> ImageInGeneration:
    def has(kind: type[ImageFingerprinted] | type[ImageEmbedded] | type[ImageIndexed]) -> bool:
        return any(isinstance(fact, kind) and fact.generation == generation.name for fact in facts)

    active = generations.active is not None and generations.active.name == generation.name
    made = has(ImageFingerprinted), has(ImageEmbedded), has(ImageIndexed)
    return ImageInGeneration(generation.name, active, *made, generation.name in catalogue.vectors)


def _describe_image(facts: Sequence[Fact], per_generation: Sequence[ImageInGeneration], has_open_ends: bool) -> str:
    for fact in facts:
        if isinstance(fact, ImageRejected):
            return f"rejected by {fact.stage} ({fact.code.value}): {fact.reason}"
    findable = [each.name for each in per_generation if each.embedded and each.indexed]
    if not findable:
        return "" if has_open_ends else _describe_waiting(facts)
    end = f"in the catalogue and findable in {' and '.join(findable)}"
    last = max((fact for fact in facts if isinstance(fact, ImageTurn)), key=lambda turn: turn.rank, default=None)
    if isinstance(last, ImageHidden):
        end = f"in the catalogue, but hidden since {last.hidden_at:%Y-%m-%d %H:%M:%S} UTC: its message does not show it"
    missing = [each.name for each in per_generation if each.name not in findable]
    unprinted = [each.name for each in per_generation if each.name in findable and not each.fingerprinted]
    parts = [
        end,
        f"not yet in {' and '.join(missing)}" if missing else "",
        f"not yet by its fingerprint in {' and '.join(unprinted)}" if unprinted else "",
    ]
    return ", ".join(filter(None, parts))


def _describe_search(facts: Sequence[Fact], has_open_ends: bool) -> str:
    for fact in facts:
        if isinstance(fact, SearchAnswered):
            ways = {
                "sent": "answered on Discord",
                "local": "answered for the command line",
                "expired": "answered too late to be sent",
            }
            return f"{ways[fact.outcome]}: {fact.verdict}"
    return "" if has_open_ends else _describe_waiting(facts)


def _describe_waiting(facts: Sequence[Fact]) -> str:
    reached = {type(fact) for fact in facts}
    behind: Mapping[type[Fact], str] = {kind: stage for kind, stage in NEXT_STAGE.items() if kind in reached}
    return f"waits for {list(behind.values())[-1]}" if behind else "nothing is left to do"
