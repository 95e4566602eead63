"""What building a generation will take: counted on the log, computed from the model's dimensions, and tried on some pictures."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter
from typing import cast

from contracts.envelope import Origin, build_headers
from contracts.errors import BlobMissing, MapSeekError, Reject
from contracts.events import ImageEmbedded, ImageFingerprinted, ImageIndexed, ImagePreprocessed
from contracts.generations import Generation
from contracts.ports import BlobStore, ImageEncoder
from contracts.subjects import IMAGES, subject_of, variant_filter
from infra.nats.reader import decode_or_warn, encode_body, read_log
from pipeline.clock import utc_now
from pipeline.process import Process
from pipeline.stage_dependencies import open_dependencies
from stages import fingerprint, preprocess

SAMPLE_PICTURES = 32
FLOAT_BYTES, HALF_BYTES = 4, 2
RECORD_BYTES = 32
"""What the log's files hold of an entry besides its subject, headers and body."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """For a number of pictures: bytes in the log, the blobs, the catalogue and the index, and pictures a second by a sample."""

    pictures: int
    log_bytes: int
    blob_bytes: int
    catalogue_bytes: int
    index_bytes: int
    sampled: int
    rate: float

    @property
    def seconds(self) -> float:
        return self.pictures / self.rate


async def estimate_build(process: Process, encoder: ImageEncoder, pictures: int, batch: int) -> Estimate:
    """Embed and fingerprint some archived pictures for real, and keep nothing. Raises MapSeekError where none of them can be."""
    container = process.container
    sample = await _sample(process)
    blobs, deps = await container.blobs(), await _deps_as_if_begun(process, encoder)
    await _embedded(encoder, blobs, list(islice(cycle(sample), batch)))  # the first batch also warms the model up
    began = perf_counter()
    done = await _embedded(encoder, blobs, sample)
    fingerprints = await _fingerprinted(deps, sample)
    took = perf_counter() - began
    if not done:
        raise MapSeekError("None of the archived pictures that were tried could be embedded: are their blobs on this machine?")
    dimensions = encoder.encoder.dimensions
    return Estimate(
        pictures=pictures,
        log_bytes=pictures * _logged(sample[0], dimensions),
        blob_bytes=pictures * sum(fingerprints) // len(sample),
        catalogue_bytes=pictures * dimensions * FLOAT_BYTES,
        index_bytes=pictures * dimensions * HALF_BYTES,
        sampled=done,
        rate=done / took,
    )


async def _sample(process: Process) -> list[ImagePreprocessed]:
    found: list[ImagePreprocessed] = []
    filters = [variant_filter(ImagePreprocessed, preprocess.DEFAULT_PREPROCESSING)]
    async with aclosing(read_log(process.container.client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(recorded.fact, ImagePreprocessed):
                found.append(recorded.fact)
            if len(found) == SAMPLE_PICTURES:
                break
    return found


async def _embedded(encoder: ImageEncoder, blobs: BlobStore, pictures: list[ImagePreprocessed]) -> int:
    """How many of these could be embedded."""

    async def embedded(picture: ImagePreprocessed) -> bool:
        try:
            await encoder.encode(await blobs.get(picture.pixels), urgent=False)
        except (BlobMissing, Reject):
            return False
        return True

    return sum(await asyncio.gather(*map(embedded, pictures)))


async def _deps_as_if_begun(process: Process, encoder: ImageEncoder) -> fingerprint.Deps:
    """What a generation would be fingerprinted by that is never opened, as its encoder is at hand."""
    made_of = encoder.encoder.id, encoder.encoder.digest, preprocess.DEFAULT_PREPROCESSING, encoder.encoder.dimensions
    generation = Generation(
        "", *made_of, sequence=0, model="", pretrained=None, precision="", fingerprint=fingerprint.DEFAULT_METHOD
    )
    return cast(
        "fingerprint.Deps", await open_dependencies(fingerprint.STAGE, ImagePreprocessed.family, process.container, generation)
    )


async def _fingerprinted(deps: fingerprint.Deps, pictures: list[ImagePreprocessed]) -> list[int]:
    """The bytes of the fingerprints of these, but for those that are taken over from another generation or cannot be made."""

    async def fingerprinted(picture: ImagePreprocessed) -> int:
        try:
            if await fingerprint.reuse_fingerprint(picture, deps) is None:
                return len((await deps.fingerprinting.fingerprint(await deps.blobs.get(picture.pixels))).data)
        except (BlobMissing, Reject):
            pass
        return 0

    return await asyncio.gather(*map(fingerprinted, pictures))


def _logged(picture: ImagePreprocessed, dimensions: int) -> int:
    """Bytes that the facts of one more picture take in the log."""
    embedded = ImageEmbedded(**picture.identity, generation="g0", vector=bytes(dimensions * FLOAT_BYTES))
    indexed = ImageIndexed(**picture.identity, generation="g0")
    blob = {"fingerprint": picture.pixels, "hash": picture.pixels}
    fingerprinted = ImageFingerprinted(**picture.identity, **blob, generation="g0", method="f0", quality=100, features=100)
    size = 0
    for fact in (embedded, fingerprinted, indexed):
        headers = build_headers(fact, Origin(picture.image_id, subject_of(picture), replayed=True), "mapseek/host/1", utc_now())
        written = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        size += RECORD_BYTES + len(subject_of(fact)) + len(written) + len(encode_body(fact))
    return size
