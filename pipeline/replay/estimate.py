"""Estimate what building a generation will take: count on the log, compute from the model's dimensions, and try some pictures."""

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
from pipeline.generations.progress import FLOAT_BYTES
from pipeline.process import Process
from pipeline.stage_dependencies import open_dependencies
from stages import fingerprint, preprocess

SAMPLE_PICTURES = 32
HALF_BYTES = 2
RECORD_BYTES = 32
"""What an entry takes in the log's files besides its subject, headers and body."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """For a number of pictures: more bytes in the log, blob store, catalogue and index, and pictures a second.

    `rate` was measured on `sampled` pictures.
    """

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
    """Embed and fingerprint some archived pictures, measure the time, and keep nothing.

    Raises MapSeekError if none of them can be embedded.
    """
    container = process.container
    sample = await _read_sample(process)
    blobs, deps = await container.blobs(), await _open_dependencies(process, encoder)
    await _embed_all(encoder, blobs, list(islice(cycle(sample), batch)))  # Not measured: the first batch also warms the model up.
    began = perf_counter()
    done = await _embed_all(encoder, blobs, sample)
    fingerprints = await _measure_fingerprints(deps, sample)
    took = perf_counter() - began
    if not done:
        raise MapSeekError(
            "None of the archived pictures that were tried could be embedded: check that their blobs are on this machine."
        )
    dimensions = encoder.encoder.dimensions
    return Estimate(
        pictures=pictures,
        log_bytes=pictures * _count_log_bytes(sample[0], dimensions),
        blob_bytes=pictures * sum(fingerprints) // len(sample),
        catalogue_bytes=pictures * dimensions * FLOAT_BYTES,
        index_bytes=pictures * dimensions * HALF_BYTES,
        sampled=done,
        rate=done / took,
    )


async def _read_sample(process: Process) -> list[ImagePreprocessed]:
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


async def _embed_all(encoder: ImageEncoder, blobs: BlobStore, pictures: list[ImagePreprocessed]) -> int:
    """Return how many of these could be embedded."""

    async def embedded(picture: ImagePreprocessed) -> bool:
        try:
            await encoder.encode(await blobs.get(picture.pixels), urgent=False)
        except (BlobMissing, Reject):
            return False
        return True

    return sum(await asyncio.gather(*map(embedded, pictures)))


async def _open_dependencies(process: Process, encoder: ImageEncoder) -> fingerprint.Deps:
    """Return the fingerprint stage's dependencies for a generation that is never recorded: its encoder is open already."""
    made_of = encoder.encoder.id, encoder.encoder.digest, preprocess.DEFAULT_PREPROCESSING, encoder.encoder.dimensions
    generation = Generation(
        "", *made_of, sequence=0, model="", pretrained=None, precision="", fingerprint=fingerprint.DEFAULT_METHOD
    )
    return cast(
        "fingerprint.Deps", await open_dependencies(fingerprint.STAGE, ImagePreprocessed.family, process.container, generation)
    )


async def _measure_fingerprints(deps: fingerprint.Deps, pictures: list[ImagePreprocessed]) -> list[int]:
    """Return the size in bytes of each picture's fingerprint: 0 if it is reused from another generation or cannot be made."""

    async def fingerprinted(picture: ImagePreprocessed) -> int:
        try:
            if await fingerprint.reuse_fingerprint(picture, deps) is None:
                return len((await deps.fingerprinter.fingerprint(await deps.blobs.get(picture.pixels))).data)
        except (BlobMissing, Reject):
            pass
        return 0

    return await asyncio.gather(*map(fingerprinted, pictures))


def _count_log_bytes(picture: ImagePreprocessed, dimensions: int) -> int:
    """Return the bytes that the facts of one more picture take in the log."""
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
