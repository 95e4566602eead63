"""The status of an image or a search in one line."""

from typing import Any

import pytest

from contracts.errors import RejectCode
from contracts.events import (
    Fact,
    GenerationStarted,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageIndexed,
    ImagePreprocessed,
    ImageRemoved,
    SearchAnswered,
    SearchDescribed,
)
from contracts.generations import Generations
from contracts.subjects import subject_of
from infra.nats.reader import RawEntry, encode_body
from pipeline.engine.registry import STAGES
from pipeline.failures.letters import Letter
from pipeline.trace.lookup import Entity, EntityHistory
from pipeline.trace.story import CatalogueStatus, EntityStatus, build_story, describe_status
from tests.support.facts import IMAGE, SEARCH, example_facts, founding_facts, posted, requested
from tests.support.posts import hidden, removed, shown

KINDS: dict[type[Fact], Fact] = {type(fact): fact for fact in example_facts()}
MADE = (ImageDownloaded, ImagePreprocessed, ImageEmbedded, ImageIndexed, ImageFingerprinted)
WAY = [posted(), *(KINDS[kind] for kind in MADE)]


def generations(number: int = 1) -> Generations:
    started, activated = founding_facts()
    now = Generations().with_fact(started, 1).with_fact(activated, 2)
    return now.with_fact(KINDS[GenerationStarted], 3) if number == 2 else now


def status_of(
    facts: list[Any], *, kind: str = "image", letters: tuple[str, ...] = (), waiting: tuple[str, ...] = (), **more: Any
) -> EntityStatus:
    def build_letters(subjects: tuple[str, ...]) -> list[Letter]:
        return [Letter(1, f"mapseek.failure.{subject}", {"mapseek-consumer": ""}, b"{}") for subject in subjects]

    entity = Entity(kind, "7", "9")  # type: ignore[arg-type]
    found = EntityHistory(entity, [], [], build_letters(letters), build_letters(waiting))
    return describe_status(found, facts, more.get("known", generations()), CatalogueStatus(there=True, vectors=frozenset({"g1"})))


@pytest.mark.parametrize(("number", "stage"), [(1, "download"), (2, "preprocess"), (3, "embed"), (4, "persist")])
def test_an_image_on_its_way_waits_for_the_next_stage(number: int, stage: str) -> None:
    assert status_of(WAY[:number]).line == f"waits for {stage}"
    assert status_of(WAY[:number]).well


def test_an_indexed_image_is_findable() -> None:
    assert status_of(WAY).line == "in the catalogue and findable in g1"
    assert status_of(WAY, known=generations(2)).line == "in the catalogue and findable in g1, not yet in g2"
    unprinted = status_of(WAY[:-1])
    assert unprinted.line == "in the catalogue and findable in g1, not yet by its fingerprint in g1"
    assert [each.fingerprinted for each in unprinted.generations] == [False]


def test_dead_letters_and_retries_are_shown_instead_of_waiting() -> None:
    failed = status_of(WAY[:3], letters=("embed.image.3.g1",))
    assert (failed.line, failed.well) == ("is a dead letter: see `mapseek failures show embed/image/3/g1`", False)
    assert status_of(WAY[:3], waiting=("embed.image.3.g1",)).line == "was retried by hand and waits for embed in g1"
    both = status_of(WAY, letters=("embed.image.3.g2",), known=generations(2))
    assert both.line == (
        "in the catalogue and findable in g1, not yet in g2; is a dead letter: see `mapseek failures show embed/image/3/g2`"
    )


def test_a_rejected_image_is_shown_with_its_reason() -> None:
    rejected = status_of([*WAY[:1], posted().to_rejection("download", RejectCode.GONE, "The message is gone.")])
    assert (rejected.line, rejected.well) == ("rejected by download (gone): The message is gone.", False)


def test_a_removed_image_has_no_other_status() -> None:
    assert status_of([KINDS[ImageRemoved], *WAY], letters=("embed.image.3",)).line == "removed on 2026-11-21 12:00:00 UTC (deleted)"


def test_an_image_that_was_not_shown_for_a_week_is_removed_as_such() -> None:
    expired = removed(posted(), expired=True)
    assert status_of([expired, *WAY]).line == "removed on 2026-11-21 12:00:00 UTC (not shown for a week)"


def test_a_hidden_image_is_not_findable_until_it_is_shown_again() -> None:
    hidden_line = "in the catalogue, but hidden since 2026-11-21 12:00:00 UTC: its message does not show it"
    findable = "in the catalogue and findable in g1"
    post = posted()
    for turns, line in (
        ([hidden(post)], hidden_line),
        ([shown(post), hidden(post)], findable),
        ([hidden(post, 2), shown(post), hidden(post)], hidden_line),
        ([shown(post, 3, spoiler=True), hidden(post, 2)], findable),
    ):
        assert (status_of([*turns, *WAY]).line, status_of([*turns, *WAY]).well) == (line, True)
    assert status_of([*WAY[:3], hidden(post)]).line == "waits for embed"


def test_what_hides_and_shows_an_image_is_told_in_sentences() -> None:
    post = posted()
    facts = [post, hidden(post), shown(post), shown(post, 2, spoiler=True), removed(post, expired=True)]
    entries = [RawEntry(number, subject_of(fact), {}, encode_body(fact)) for number, fact in enumerate(facts, 1)]
    story = build_story(EntityHistory(Entity("image", "7", "9"), entries, [], [], []), STAGES)
    assert [(step.what, step.detail) for step in story.steps[1:]] == [
        ("hidden", "its message does not show it any more, so nobody finds it"),
        ("shown", "its message shows it"),
        ("shown", "its message shows it as a spoiler"),
        ("removed", "not shown for a week: only its id and the time are kept"),
    ]


def test_a_search_is_answered_or_waits_for_a_stage() -> None:
    assert status_of([requested()], kind="search").line == "waits for download"
    assert status_of([SearchDescribed(**SEARCH, words="a red dragon")], kind="search").line == "waits for embed"
    assert status_of([requested(), KINDS[SearchAnswered]], kind="search").line == "answered for the command line: match"
    assert status_of([], kind="search").line == "nothing is left to do"


def test_each_generation_shows_what_it_has_of_an_image() -> None:
    embedded = ImageEmbedded(**IMAGE, generation="g2", vector=b"\0\0\0\0")
    first, second = status_of([*WAY, embedded], known=generations(2)).generations
    assert (first.name, first.active, first.embedded, first.indexed, first.in_catalogue) == ("g1", True, True, True, True)
    assert (second.name, second.active, second.embedded, second.indexed, second.in_catalogue) == ("g2", False, True, False, False)
