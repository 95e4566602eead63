"""The pictures and links that a report shows: of the questions, and of the images that were answered or expected."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from contracts.errors import BlobMissing
from contracts.ports import BlobStore, Document
from pipeline.cli.paths import data_uri
from pipeline.compare.archive import Archive
from pipeline.compare.score import Change
from stages.canonical_image import as_thumbnail


@dataclass(frozen=True, slots=True)
class Shown:
    """An archived image as the report shows it; `thumbnail` is a data URI, empty where the blob is lost."""

    caption: str
    link: str
    thumbnail: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """The archived images by id, and the pictures that were asked with, as data URIs, by their names in the store."""

    images: dict[str, Shown]
    asked: dict[str, str]


async def pictures_of(changes: Sequence[Change], archive: Archive) -> Pictures:
    """What the report of these changes needs."""
    wanted: set[str] = set()
    for change in changes:
        wanted |= change.query.expected
        wanted |= {piece.image_id for answer in (change.before, change.after) for piece in answer.pieces}
    images = {
        image_id: await _shown(entry.document, archive.blobs)
        for image_id, entry in (await archive.catalogue.entries(wanted)).items()
        if "metadata" in entry.document
    }
    asked = {change.query.picture for change in changes if change.query.picture}
    return Pictures(images, {name: await _picture(name, archive.questions) for name in sorted(asked)})


async def _shown(document: Document, blobs: BlobStore) -> Shown:
    metadata = document["metadata"]
    caption = f"{metadata['filename']} by {metadata['user_name']}, {metadata['upload_timestamp'][:10]}"
    try:
        thumbnail = data_uri(await blobs.get(document["media"]["thumbnail"]), "webp")
    except (BlobMissing, KeyError):
        thumbnail = ""
    return Shown(caption, document["message_link"], thumbnail)


async def _picture(name: str, questions: BlobStore) -> str:
    """A question's picture, made smaller: nobody looks at thousands of large ones."""
    data = await questions.get(name)
    return data_uri(await asyncio.to_thread(lambda: as_thumbnail(Image.open(BytesIO(data)).convert("RGB"))), "webp")
