"""Finding what a picture shows by its fingerprint: the likeliest archived images are compared with it, one by one.

What that costs is bounded whatever is asked and however much is archived: so many candidates, so many vectors of the question.
"""

import asyncio
from collections.abc import Mapping, Sequence

from contracts.events import Calibration, Evidence, Match, SearchEmbedded
from contracts.ports import Candidate, Catalogue, Compared, Neighbour, VectorSearch
from stages.comparing import Prints, compared_with
from stages.filtering import allowed
from stages.ranking import POSSIBLE_AT, ranked
from stages.scores import score_of

BY_FEATURES = 16
"""Different fingerprints that are compared because they have features in common with the question's, or their hashes are near."""

BY_VECTOR = 6
"""Different fingerprints that are compared besides, because a vector of the question is near."""

BY_COLOURS = 4
"""Different fingerprints that are compared besides, because the question may be a part of them by its colours."""

NEIGHBOURS = 64
"""Candidates looked at for each way of finding them: many may be posts of one picture, or unlike in the end."""

WORTH_SHOWING = 0.1
"""How sure a comparison must be at least for a near vector to make something possible: below it rather says that it is not."""

FILTERED = 8
"""Times as many where filters may leave out most of them."""


async def verified(event: SearchEmbedded, asked: bytes, vectors: VectorSearch, catalogue: Catalogue, prints: Prints) -> list[Match]:
    """All that is at least possible, best first; `asked` is the question's fingerprint.

    An image that has no fingerprint, or whose fingerprint is lost, is told by its vector as in a generation without any.
    """
    guild, generation, question = event.guild_id, event.generation, event.question
    top = NEIGHBOURS * (1 if question.filters is None else FILTERED)
    channels = question.readable_channels
    shared, near = await asyncio.gather(
        prints.features.candidates(guild, generation, asked, top=top, channels=channels),
        _near(event, vectors, top),
    )
    coloured = await prints.features.coloured(guild, generation, asked, top=top, channels=channels)
    cosines = fused(near)
    found = {*cosines, *(each.image_id for each in (*shared, *coloured))}
    let_through = await allowed(found, question.filters, catalogue)
    cosines = {image_id: cosine for image_id, cosine in cosines.items() if image_id in let_through}
    shared, coloured = ([each for each in some if each.image_id in let_through] for some in (shared, coloured))
    known = await prints.features.fingerprints(guild, generation, cosines)
    chosen = chosen_of(shared, BY_FEATURES)
    chosen |= chosen_of([each for each in coloured if each.image_id not in chosen], BY_COLOURS)
    chosen |= chosen_of([known[each] for each in cosines if each in known and each not in chosen], BY_VECTOR)
    among = await prints.features.size(guild, generation)
    compared = await compared_with(asked, chosen, cosines, prints, among=among)
    by_vector_alone = {each: cosine for each, cosine in cosines.items() if each not in known or each in chosen}
    return ranked(matches_of(compared, by_vector_alone, event.calibration), event.calibration, cosines)


async def _near(event: SearchEmbedded, vectors: VectorSearch, top: int) -> Sequence[Sequence[Neighbour]]:
    """The neighbours of the whole question, and of each place in it."""
    channels = event.question.readable_channels
    views = (event.vector, *event.views)
    return await asyncio.gather(
        *(vectors.search(event.guild_id, event.generation, view, top=top, channels=channels) for view in views)
    )


def fused(lists: Sequence[Sequence[Neighbour]]) -> dict[str, float]:
    """The neighbours of several vectors with their best cosines: those that any of them ranks first, then second, and so on."""
    ranks: dict[str, int] = {}
    cosines: dict[str, float] = {}
    for neighbours in lists:
        for rank, found in enumerate(neighbours):
            ranks[found.image_id] = min(rank, ranks.get(found.image_id, rank))
            cosines[found.image_id] = max(score_of(found.score), cosines.get(found.image_id, -1.0))
    return {image_id: cosines[image_id] for image_id in sorted(ranks, key=lambda each: (ranks[each], -cosines[each], each))}


def chosen_of(candidates: Sequence[Candidate], most: int) -> dict[str, str]:
    """The first candidates with so many different fingerprints, by image id: another post of the same picture costs nothing."""
    chosen: dict[str, str] = {}
    fingerprints: set[str] = set()
    for candidate in candidates:
        if candidate.fingerprint in fingerprints or len(fingerprints) < most:
            fingerprints.add(candidate.fingerprint)
            chosen[candidate.image_id] = candidate.fingerprint
    return chosen


def matches_of(compared: Mapping[str, Compared], cosines: Mapping[str, float], calibration: Calibration) -> list[Match]:
    """What was compared with how sure that is, and what was not with its cosine, as far as either makes it at least possible."""
    matches = []
    for image_id in {**compared, **cosines}:
        near = cosines.get(image_id, -1.0) >= calibration.possible_at
        result = compared.get(image_id)
        if result is not None and result.probability >= (WORTH_SHOWING if near else POSSIBLE_AT):
            evidence = result.evidence if result.probability >= POSSIBLE_AT else Evidence(by="vector")
            matches.append(Match(image_id=image_id, score=score_of(result.probability), evidence=evidence))
        elif result is None and near:
            matches.append(Match(image_id=image_id, score=cosines[image_id]))
    return matches
