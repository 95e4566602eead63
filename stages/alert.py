"""The stage alert: sets alerts, and triggers them when an image matches. Replay-safe: it only reads.

Every image that is archived while an alert is open counts, however long ago it was posted. Images archived between the search and
the request count too: once the alert is in the log, so that no later image can be missed, the archive is searched for them.

An image that is hidden by then triggers nothing, also not when it is shown again.

An alert outlives the generation that it was set in, because its picture is embedded in the other generations too. An image is
compared in the active generation and in every earlier active one that is not dropped. The earlier ones are needed for images that
the new generation embedded before its activation: those are compared in the generation that was active then.

A vector of the alert may be recorded after an image that it matches, for example if somebody presses the button under an answer of
a generation that is dropped by now. So when a vector is recorded in the active generation, the archive is searched again there.
An image was either embedded before that and is found, or it is embedded later and finds the vector. Earlier generations are not
searched again: they could only match what the active generation found to be different.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from contracts.events import (
    AlertEmbedded,
    AlertRequested,
    AlertSet,
    AlertTriggered,
    Fact,
    ImageEmbedded,
    SearchEmbedded,
    SearchPreprocessed,
)
from contracts.generations import Generations
from contracts.ports import Alerts, Catalogue, Journal, VectorSearch, is_hidden
from contracts.stage import Stage
from stages.matching import round_score

MAX_MISSED_IMAGES = 10
"""How many images archived before the alert may trigger it. The first one that the person may see ends the alert."""


@dataclass(frozen=True, slots=True)
class Deps:
    """`journal` has the facts of a search for a week; `generations` returns all generations as of now."""

    journal: Journal
    alerts: Alerts
    vectors: VectorSearch
    catalogue: Catalogue
    generations: Callable[[], Generations]


async def handle(event: AlertRequested | AlertSet | AlertEmbedded | ImageEmbedded, deps: Deps) -> Sequence[Fact]:
    """Set a requested alert, trigger a new alert by earlier images, or trigger all open alerts that a new image matches.

    A generation that is still being built triggers nothing; another one is active meanwhile.
    """
    match event:
        case AlertRequested():
            return await _set_alert(event, deps.journal)
        case AlertSet():
            return await _trigger_by_earlier_images(event, deps)
        case AlertEmbedded():
            active = deps.generations().active
            return await _trigger_by_earlier_images(event, deps) if active is not None and active.name == event.generation else ()
        case ImageEmbedded():
            if not deps.generations().serves(event.generation):
                return ()
            alerts = await deps.alerts.list_comparable(event.guild_id, event.generation)
            triggered = _trigger((alert, event.image_id, cosine_similarity(alert.vector, event.vector)) for alert in alerts)
            return () if triggered and await _is_image_hidden(event.image_id, deps.catalogue) else triggered


async def _is_image_hidden(image_id: str, catalogue: Catalogue) -> bool:
    entry = (await catalogue.entries([image_id], with_hidden=True)).get(image_id)
    return entry is not None and is_hidden(entry.document)


async def _trigger_by_earlier_images(event: AlertSet | AlertEmbedded, deps: Deps) -> Sequence[Fact]:
    """Trigger the alert by images that were archived before this vector of it, if it is still open."""
    key = (event.guild_id, event.alert_id, event.person.id)
    compared: list[tuple[AlertSet, str, float]] = []
    for alert in await deps.alerts.list_comparable(event.guild_id, event.generation):
        if alert.key == key:
            nearest = await deps.vectors.search(
                event.guild_id, event.generation, alert.vector, top=MAX_MISSED_IMAGES, channels=None
            )
            compared += [(alert, found.image_id, found.score) for found in nearest]
    return _trigger(compared)


async def _set_alert(event: AlertRequested, journal: Journal) -> Sequence[Fact]:
    """Set the alert. Nothing happens if the search was by words, or if the log no longer has it."""
    search = (event.guild_id, event.search_id)
    embedded = await journal.fetch(SearchEmbedded, *search)
    preprocessed = await journal.fetch(SearchPreprocessed, *search)
    if embedded is None or preprocessed is None or embedded.by != "image":
        return ()
    return (
        AlertSet(
            guild_id=event.guild_id,
            alert_id=event.alert_id,
            person=event.person,
            channel_id=event.channel_id,
            locale=event.locale,
            age_restricted=event.age_restricted,
            requested_at=event.requested_at,
            pixels=preprocessed.pixels,
            generation=embedded.generation,
            vector=embedded.vector,
            calibration=embedded.calibration,
            spoiler=preprocessed.spoiler,
        ),
    )


def _trigger(compared: Iterable[tuple[AlertSet, str, float]]) -> Sequence[AlertTriggered]:
    """Trigger those alerts whose image matches. The input is (alert, image id, similarity)."""
    scored = [(alert, image_id, round_score(similarity)) for alert, image_id, similarity in compared]
    return [
        AlertTriggered(
            guild_id=alert.guild_id,
            alert_id=alert.alert_id,
            person=alert.person,
            image_id=image_id,
            score=score,
            channel_id=alert.channel_id,
            locale=alert.locale,
            age_restricted=alert.age_restricted,
        )
        for alert, image_id, score in scored
        if score >= alert.calibration.match_at
    ]


def cosine_similarity(vector: bytes, other: bytes) -> float:
    """Return the similarity of two unit vectors of one generation."""
    return float(np.dot(np.frombuffer(vector, "<f4"), np.frombuffer(other, "<f4")))


STAGE = Stage(
    name="alert",
    consumes=(AlertRequested, AlertSet, AlertEmbedded, ImageEmbedded),
    emits=(AlertSet, AlertTriggered),
    handle=handle,
    deps=Deps,
    by_generation=(ImageEmbedded,),
    live_only=True,
)
