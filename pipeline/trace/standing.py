"""Where an image or a search stands now, in one line, and what each generation and the catalogue have of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contracts.events import (
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    SearchAnswered,
    SearchDescribed,
    SearchDownloaded,
    SearchEmbedded,
    SearchFingerprinted,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
)
from contracts.generations import Generation, Generations
from pipeline.failures.letters import Letter
from pipeline.trace.finding import Found

NEXT: dict[type[Fact], str] = {
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
"""The stage that goes on with it, in the order of the way."""


@dataclass(frozen=True, slots=True)
class InCatalogue:
    """What the catalogue has of an image. `vectors` are the generations whose vector it keeps; None: it could not be asked."""

    there: bool | None = None
    removed: bool = False
    vectors: frozenset[str] = frozenset()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InGeneration:
    """How far an image is in a generation; `active` is the one that answers."""

    name: str
    active: bool
    fingerprinted: bool
    embedded: bool
    indexed: bool
    in_catalogue: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """The line, and what it is made of."""

    line: str
    well: bool
    generations: Sequence[InGeneration] = field(default_factory=tuple)


def standing_of(found: Found, facts: Sequence[Fact], generations: Generations, catalogue: InCatalogue) -> Standing:
    """Where it stands, by these facts. What is removed stands nowhere else."""
    for fact in facts:
        if isinstance(fact, ImageRemoved):
            return Standing(f"removed on {fact.removed_at:%Y-%m-%d %H:%M:%S} UTC ({fact.cause})", well=True)
    per_generation = [_in(generation, facts, generations, catalogue) for generation in generations.alive]
    image = found.entity.kind == "image"
    open_ends = [f"lies in FAILURES: mapseek failures show {letter.id}" for letter in found.letters]
    open_ends += [f"is put back by hand and waits for {letter.worker.stage}{_for(letter)}" for letter in found.waiting]
    end = _image_end(facts, per_generation, bool(open_ends)) if image else _search_end(facts, bool(open_ends))
    return Standing(
        "; ".join(filter(None, (end, *open_ends))),
        well=not open_ends and not any(isinstance(fact, ImageRejected | SearchRejected) for fact in facts),
        generations=per_generation if image else (),
    )


def _for(letter: Letter) -> str:
    return f" in {letter.worker.generation}" if letter.worker.generation else ""


def _in(generation: Generation, facts: Sequence[Fact], generations: Generations, catalogue: InCatalogue) -> InGeneration:
    def has(kind: type[ImageFingerprinted] | type[ImageEmbedded] | type[ImageIndexed]) -> bool:
        return any(isinstance(fact, kind) and fact.generation == generation.name for fact in facts)

    active = generations.active is not None and generations.active.name == generation.name
    made = has(ImageFingerprinted), has(ImageEmbedded), has(ImageIndexed)
    return InGeneration(generation.name, active, *made, generation.name in catalogue.vectors)


def _image_end(facts: Sequence[Fact], per_generation: Sequence[InGeneration], has_open_ends: bool) -> str:
    for fact in facts:
        if isinstance(fact, ImageRejected):
            return f"rejected by {fact.stage} ({fact.code.value}): {fact.reason}"
    findable = [each.name for each in per_generation if each.embedded and each.indexed]
    if not findable:
        return "" if has_open_ends else _waits(facts)
    end = f"in the catalogue and findable in {' and '.join(findable)}"
    missing = [each.name for each in per_generation if each.name not in findable]
    unprinted = [each.name for each in per_generation if each.name in findable and not each.fingerprinted]
    said = [
        end,
        f"not yet in {' and '.join(missing)}" if missing else "",
        f"not yet by its fingerprint in {' and '.join(unprinted)}" if unprinted else "",
    ]
    return ", ".join(filter(None, said))


def _search_end(facts: Sequence[Fact], has_open_ends: bool) -> str:
    for fact in facts:
        if isinstance(fact, SearchAnswered):
            ways = {
                "sent": "answered on Discord",
                "local": "answered for the command line",
                "expired": "answered too late to be sent",
            }
            return f"{ways[fact.outcome]}: {fact.verdict}"
    return "" if has_open_ends else _waits(facts)


def _waits(facts: Sequence[Fact]) -> str:
    reached = {type(fact) for fact in facts}
    behind: Mapping[type[Fact], str] = {kind: stage for kind, stage in NEXT.items() if kind in reached}
    return f"waits for {list(behind.values())[-1]}" if behind else "nothing is left of its way"
