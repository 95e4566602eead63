"""The stage alert: which requests become alerts, and what triggers them."""

import numpy as np
import pytest

from contracts.envelope import Origin
from contracts.events import (
    AlertCancelled,
    AlertDelivered,
    AlertEmbedded,
    AlertRequested,
    AlertSet,
    AlertTriggered,
    Calibration,
    Fact,
    ImageEmbedded,
    Person,
    SearchEmbedded,
    SearchPreprocessed,
)
from contracts.generations import Generation, Generations
from infra.vectors.index import EmbeddedIndex
from stages.alert import STAGE, Deps, cosine_similarity, handle
from tests.support.facts import ALERT, ALEX, BLOB, MOMENT, SEARCH
from tests.support.fakes import MemoryAlerts, MemoryCatalogue, MemoryJournal

CALIBRATION = Calibration(match_at=0.9, possible_at=0.6)


def direction(degrees: float) -> bytes:
    """Build a unit vector. Vectors that are up to 25 degrees apart match."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "<f4").tobytes()


REQUEST = AlertRequested(**ALERT, search_id="11", channel_id="8", locale="de", age_restricted=True, requested_at=MOMENT)
EMBEDDED = SearchEmbedded(**SEARCH, generation="g1", vector=direction(0), calibration=CALIBRATION, trained=True)
PREPROCESSED = SearchPreprocessed(**SEARCH, pixels=BLOB, width=128, height=128, preprocessing="p1")


def alert(alert_id: str = "13", *, degrees: float = 0, guild: str = "7", generation: str = "g1") -> AlertSet:
    return AlertSet(
        guild_id=guild,
        alert_id=alert_id,
        person=ALEX,
        channel_id="8",
        locale="de",
        age_restricted=True,
        requested_at=MOMENT,
        pixels=BLOB,
        generation=generation,
        vector=direction(degrees),
        calibration=CALIBRATION,
    )


def embedded_alert(generation: str, *, degrees: float = 0, match_at: float = 0.9) -> AlertEmbedded:
    calibration = Calibration(match_at=match_at, possible_at=0.6)
    return AlertEmbedded(**ALERT, generation=generation, vector=direction(degrees), calibration=calibration)


def image(degrees: float = 0, generation: str = "g1") -> ImageEmbedded:
    return ImageEmbedded(guild_id="7", channel_id="9", image_id="20", generation=generation, vector=direction(degrees))


def generations(*activations: str, dropped: str = "") -> Generations:
    known = {name: Generation(name, "e", "d", "p1", 2, 1, "m", None, "fp32", "f1") for name in ("g1", "g2")}
    return Generations(known, activations, frozenset(filter(None, [dropped])))


FIRST = generations("g1")
SECOND = generations("g1", "g2", dropped="g1")


async def handle_with_log(
    event: AlertRequested | AlertSet | AlertEmbedded | ImageEmbedded,
    *log: Fact,
    archive: EmbeddedIndex | None = None,
    catalogue: MemoryCatalogue | None = None,
    now: Generations = FIRST,
) -> list[Fact]:
    journal = MemoryJournal()
    for fact in log:
        await journal.record(fact, Origin("1"))
    return list(
        await handle(
            event, Deps(journal, MemoryAlerts(journal), archive or EmbeddedIndex(), catalogue or MemoryCatalogue(), lambda: now)
        )
    )


async def test_an_image_that_is_hidden_by_then_triggers_nothing() -> None:
    catalogue = MemoryCatalogue()
    for turn, hidden, triggered in ((1, True, False), (1, False, True)):
        await catalogue.merge("20", {"visibility": {"turn": turn, "hidden": hidden, "spoiler": False}})
        assert bool(await handle_with_log(image(), alert(), catalogue=catalogue)) is triggered
    archive = EmbeddedIndex()
    archive.add("7", "g1", "20", "9", direction(0))
    archive.hide("20", 1)
    assert await handle_with_log(alert(), alert(), archive=archive) == []


async def test_a_request_becomes_an_alert_that_does_not_need_the_search() -> None:
    assert await handle_with_log(REQUEST, EMBEDDED, PREPROCESSED) == [alert()]


@pytest.mark.parametrize(
    "log",
    [(), (EMBEDDED,), (PREPROCESSED,), (EMBEDDED.model_copy(update={"by": "text"}), PREPROCESSED)],
    ids=["gone", "no picture", "no vector", "by words"],
)
async def test_a_request_without_a_picture_is_ignored(log: tuple[Fact, ...]) -> None:
    assert await handle_with_log(REQUEST, *log) == []


@pytest.mark.parametrize(("degrees", "triggered"), [(0, True), (25, True), (26, False), (180, False)])
async def test_an_image_that_matches_triggers(degrees: float, triggered: bool) -> None:
    facts = await handle_with_log(image(degrees), alert())
    score = round(cosine_similarity(direction(0), direction(degrees)), 6)
    expected = AlertTriggered(**ALERT, image_id="20", score=score, channel_id="8", locale="de", age_restricted=True)
    assert facts == ([expected] if triggered else [])


async def test_every_open_alert_of_the_guild_and_generation_is_triggered() -> None:
    log = (
        alert("1"),
        alert("2", degrees=10),
        alert("3", degrees=90),
        alert("4", guild="8"),
        alert("5", generation="g2"),
        alert("6"),
        AlertCancelled(guild_id="7", alert_id="6", person=ALEX, cancelled_at=MOMENT),
        alert("7"),
        AlertDelivered(guild_id="7", alert_id="7", person=ALEX, image_id="2", outcome="direct"),
        alert("8"),
        AlertDelivered(guild_id="7", alert_id="8", person=ALEX, image_id="2", outcome="withheld"),
    )
    assert [fact.key for fact in await handle_with_log(image(), *log)] == [("7", number, "5", "20") for number in ("1", "2", "8")]


async def test_an_image_archived_between_search_and_request_triggers() -> None:
    archive = EmbeddedIndex()
    for guild, generation, image_id, degrees in [
        ("7", "g1", "20", 5),
        ("7", "g1", "21", 60),
        ("8", "g1", "2", 0),
        ("7", "g2", "3", 0),
    ]:
        archive.add(guild, generation, image_id, "70", direction(degrees))
    (fact,) = await handle_with_log(alert(), alert(), archive=archive)
    assert isinstance(fact, AlertTriggered)
    assert (fact.key, fact.score) == (("7", "13", "5", "20"), pytest.approx(np.cos(np.radians(5)), abs=1e-3))
    cancelled = AlertCancelled(guild_id="7", alert_id="13", person=ALEX, cancelled_at=MOMENT)
    assert await handle_with_log(alert(), alert(), cancelled, archive=archive) == []


async def test_an_alert_outlives_the_generation_that_it_was_set_in() -> None:
    log = (alert(), embedded_alert("g2", degrees=90, match_at=0.8))
    (fact,) = await handle_with_log(image(90 + 30, "g2"), *log, now=SECOND)
    assert isinstance(fact, AlertTriggered)
    assert (fact.key, fact.score) == (("7", "13", "5", "20"), pytest.approx(np.cos(np.radians(30)), abs=1e-6))
    assert await handle_with_log(image(90 + 40, "g2"), *log, now=SECOND) == []
    assert await handle_with_log(image(0), *log, now=SECOND) == []


async def test_a_generation_that_is_being_built_triggers_nothing_and_an_earlier_one_does_until_it_is_dropped() -> None:
    log = (alert(), embedded_alert("g2"))
    assert await handle_with_log(image(generation="g2"), *log) == []
    both = [await handle_with_log(image(generation=name), *log, now=generations("g1", "g2")) for name in ("g1", "g2")]
    assert [len(facts) for facts in both] == [1, 1]
    assert both[0][0].key == both[1][0].key


async def test_an_image_embedded_before_the_alert_in_the_active_generation_triggers() -> None:
    archive = EmbeddedIndex()
    archive.add("7", "g2", "20", "70", direction(95))
    embedded = embedded_alert("g2", degrees=90)
    for now, found in ((SECOND, ["20"]), (generations("g1", "g2"), ["20"]), (FIRST, []), (generations("g1", "g2", "g1"), [])):
        facts = await handle_with_log(embedded, alert(), embedded, archive=archive, now=now)
        assert [fact.image_id for fact in facts if isinstance(fact, AlertTriggered)] == found
    cancelled = AlertCancelled(guild_id="7", alert_id="13", person=ALEX, cancelled_at=MOMENT)
    assert await handle_with_log(embedded, alert(), embedded, cancelled, archive=archive, now=SECOND) == []


async def test_two_people_can_have_an_alert_for_the_same_search() -> None:
    steve = alert().model_copy(update={"person": Person(id="6", name="Steve")})
    archive = EmbeddedIndex()
    archive.add("7", "g1", "20", "70", direction(0))
    assert [fact.key for fact in await handle_with_log(alert(), alert(), steve, archive=archive)] == [("7", "13", "5", "20")]
    assert [fact.key[2] for fact in await handle_with_log(image(), alert(), steve)] == ["5", "6"]


async def test_the_rounded_score_is_judged_and_is_at_most_one() -> None:
    longer = alert().model_copy(update={"vector": np.array([1.001, 0], "<f4").tobytes()})
    barely = alert("14").model_copy(update={"vector": np.array([0.8999999, 0], "<f4").tobytes()})
    facts = await handle_with_log(image(), longer, barely)
    assert [fact.score for fact in facts if isinstance(fact, AlertTriggered)] == [1, 0.9]


async def test_the_declaration_of_the_stage() -> None:
    assert STAGE.consumes == (AlertRequested, AlertSet, AlertEmbedded, ImageEmbedded)
    assert (STAGE.emits, STAGE.by_generation, STAGE.live_only) == ((AlertSet, AlertTriggered), (ImageEmbedded,), True)
    assert STAGE.families == ("alert", "image")
