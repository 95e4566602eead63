"""Comparing a picture with archived ones by their fingerprints. Each is read and compared once, however often it was posted."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.errors import BlobMissing
from contracts.ports import BlobStore, Compared, Comparing, FeatureSearch


@dataclass(frozen=True, slots=True)
class Prints:
    """Where archived fingerprints are looked up, where they lie, and how they are compared."""

    features: FeatureSearch
    comparing: Comparing
    archive: BlobStore


async def compared_with(
    asked: bytes, archived: Mapping[str, str], similarities: Mapping[str, float], prints: Prints, *, among: int
) -> dict[str, Compared]:
    """Each archived image, given with the blob of its fingerprint, compared with what was asked.

    Images whose fingerprint is lost or unreadable are left out. `similarities` are cosines, where they are known.
    """
    posts: dict[str, list[str]] = {}
    for image_id, blob in archived.items():
        posts.setdefault(blob, []).append(image_id)
    read = await asyncio.gather(*(_read(blob, prints.archive) for blob in posts))
    data = {blob: found for blob, found in zip(posts, read, strict=True) if found is not None}
    if not data:
        return {}
    cosines = {blob: max(known) for blob in data if (known := [similarities[each] for each in posts[blob] if each in similarities])}
    compared = await prints.comparing.compare(asked, data, cosines, among=among)
    return {image_id: compared[blob] for blob in compared for image_id in posts[blob]}


async def _read(blob: str, archive: BlobStore) -> bytes | None:
    try:
        return await archive.get(blob)
    except BlobMissing:
        return None
