"""Two catalogues compared: the digest of each, and where they differ."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from contracts.ports import Kept
from contracts.ports.storage import side_by_side

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Digests of what there was and of what the log says; `examples` are the first differences, one sentence each."""

    before: str
    after: str
    images: int
    different: int
    examples: tuple[str, ...]


async def compared(before: AsyncIterator[Kept], after: AsyncIterator[Kept]) -> Comparison:
    """Compare all that two catalogues keep. `after` is the one that was made from the log."""
    digests = hashlib.sha256(), hashlib.sha256()
    images = different = 0
    examples: list[str] = []
    async for pair in side_by_side(before, after):
        for kept, digest in zip(pair, digests, strict=True):
            if kept is not None:
                digest.update(canonical(kept))
        images += pair[1] is not None
        if pair[0] != pair[1]:
            different += 1
            if different <= SHOWN:
                examples.append(difference(*pair))
    return Comparison(digests[0].hexdigest(), digests[1].hexdigest(), images, different, tuple(examples))


def canonical(kept: Kept) -> bytes:
    """What the digest of a catalogue is made of: an image a line, with sorted keys; vectors as hexadecimal digits."""
    vectors = {generation: vector.hex() for generation, vector in kept.vectors.items()}
    line = [kept.image_id, kept.removed, kept.document, vectors]
    return orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def difference(before: Kept | None, after: Kept | None) -> str:
    """What is not the same of one image, in a sentence."""
    if after is None:
        return f"{_named(before)} is not in the log." if before else ""
    if before is None:
        return f"{_named(after)} is missing."
    if before.removed != after.removed:
        return f"Image {after.image_id} is {'' if before.removed else 'not '}removed, but the log says otherwise."
    fields = [field for field in {**before.document, **after.document} if before.document.get(field) != after.document.get(field)]
    vectors = [name for name in {**before.vectors, **after.vectors} if before.vectors.get(name) != after.vectors.get(name)]
    parts = [*sorted(fields), *(f"the vector of {name}" for name in sorted(vectors))]
    return f"Image {after.image_id} is not as the log says: {', '.join(parts)}."


def _named(kept: Kept) -> str:
    return f"{'The tombstone of image' if kept.removed else 'Image'} {kept.image_id}"
