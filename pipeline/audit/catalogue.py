"""What the catalogue has, read once from its beginning to its end."""

import sys
from typing import Any

from contracts.ports import Catalogue
from pipeline.audit.comparisons import Kept

_PARTS = {
    "metadata": "posts",
    "original": "originals",
    "media": "pictures",
    "fingerprint": "fingerprints",
    "rejection": "rejections",
}


async def read_kept(catalogue: Catalogue, generation: str, guild: str | None = None) -> Kept:
    """The catalogue as sets of image ids. Raises Unavailable."""
    sets: dict[str, set[str]] = {name: set() for name in Kept.__dataclass_fields__}
    async for entry in catalogue.contents():
        image_id = sys.intern(entry.image_id)
        if entry.removed:
            sets["tombstones"].add(image_id)
            continue
        for name in _parts(entry.document):
            sets[name].add(image_id)
        if guild in (None, entry.document.get("metadata", {}).get("guild_id")):
            sets["documents"].add(image_id)
        if entry.vectors.get(generation):
            sets["vectors"].add(image_id)
    return Kept(**sets)


def _parts(document: Any) -> list[str]:
    return [name for field, name in _PARTS.items() if document.get(field)]
