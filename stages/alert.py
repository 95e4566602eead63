"""Alert: a wish to be told becomes an alert, and an image that matches an alert triggers it. Replay-safe: it only reads.

Every image that comes while an alert is open counts, however long ago it was posted: it turned up. So do those that came between
the search and the wish, for which the archive is looked through once the alert is in the log and no image can slip by any more.

An alert outlives the generation that it was set in, by the vectors that its picture has in others. An image is compared in every
generation that serves: in the one that answers, and in an earlier one until it is dropped, since what was embedded in the new one
before its activation is compared in the one that answered then.

A vector of the alert may be recorded later than an image that it matches, for example if somebody presses the button under an
answer of a generation that is dropped by now. So once it is in the log the archive is looked through again, in the generation that
answers: an image was either embedded before, and is found, or comes after, and finds the vector. Not in an earlier generation,
which would only call alike what the one that answers found to be different.
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
from contracts.ports import Alerts, Journal, VectorSearch
from contracts.stage import Stage
from stages.matching import round_score

MAX_MISSED_IMAGES = 10
"""Images looked at that came before the alert: the first that the person may see ends it."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The log, which holds the search for a week, the alerts that are open, the archive's vectors, and all generations now."""

    journal: Journal
    alerts: Alerts
    vectors: VectorSearch
    generations: Callable[[], Generations]


async def handle(event: AlertRequested | AlertSet | AlertEmbedded | ImageEmbedded, deps: Deps) -> Sequence[Fact]:
    """Set the alert that was asked for, trigger a new one by what came before it, or all open ones that an image matches.

    A generation that is still being built tells nobody anything: another one serves meanwhile.
    """
    match event:
        case AlertRequested():
            return await _set(event, deps.journal)
        case AlertSet():
            return await _missed(event, deps)
        case AlertEmbedded():
            active = deps.generations().active
            return await _missed(event, deps) if active is not None and active.name == event.generation else ()
        case ImageEmbedded():
            if not deps.generations().serves(event.generation):
                return ()
            waiting = await deps.alerts.list_comparable(event.guild_id, event.generation)
            return _triggered((alert, event.image_id, cosine_similarity(alert.vector, event.vector)) for alert in waiting)


async def _missed(event: AlertSet | AlertEmbedded, deps: Deps) -> Sequence[Fact]:
    """What came before this vector of the alert, if it is still open."""
    key = (event.guild_id, event.alert_id, event.person.id)
    compared: list[tuple[AlertSet, str, float]] = []
    for alert in await deps.alerts.list_comparable(event.guild_id, event.generation):
        if alert.key == key:
            nearest = await deps.vectors.search(
                event.guild_id, event.generation, alert.vector, top=MAX_MISSED_IMAGES, channels=None
            )
            compared += [(alert, found.image_id, found.score) for found in nearest]
    return _triggered(compared)


async def _set(event: AlertRequested, journal: Journal) -> Sequence[Fact]:
    """Nothing when the search was by words, or is gone from the log."""
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
        ),
    )


def _triggered(compared: Iterable[tuple[AlertSet, str, float]]) -> Sequence[AlertTriggered]:
    """Those alerts whose image matches, of (alert, image id, similarity)."""
    told = [(alert, image_id, round_score(similarity)) for alert, image_id, similarity in compared]
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
        for alert, image_id, score in told
        if score >= alert.calibration.match_at
    ]


def cosine_similarity(vector: bytes, other: bytes) -> float:
    """The similarity of two unit vectors of one generation."""
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
