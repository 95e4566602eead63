"""Whether the store has the blobs that the log names, whole, and no others.

One pass over the log compares the two: a name that the store does not have was put just now, so it is asked for again; what never
comes by is an orphan.
"""

import shlex
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from contracts.errors import BlobMissing
from contracts.events import ImageDownloaded, ImageFact, ImageFingerprinted, ImagePosted, ImagePreprocessed, StoredFile
from contracts.generations import Generation
from contracts.ports import Catalogue
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.blobs.files import FileBlobStore
from infra.nats.connection import Client
from infra.nats.projections import read_generations
from infra.nats.reader import decode_or_warn, read_log
from stages.erase import list_blobs

BLOB_FACTS = (ImagePosted, ImageDownloaded, ImagePreprocessed, ImageFingerprinted)
"""The facts that name blobs, and the only ones whose bodies an audit reads."""


@dataclass(frozen=True, slots=True)
class BlobFindings:
    """How many names of blobs led to one, which images want one that is missing or damaged, and what no fact and no document names.

    `originals` were posted so, `pictures` were made of those and `fingerprints` of these. `again` is the
    command that archives a local image once more.
    """

    found: int
    originals: frozenset[str]
    pictures: frozenset[str]
    fingerprints: frozenset[str]
    orphans: tuple[str, ...]
    again: Mapping[str, str]


async def compare_blobs(
    client: Client,
    store: FileBlobStore,
    catalogue: Catalogue,
    *,
    grace_s: float,
    guild: str | None = None,
    whole: bool = True,
) -> BlobFindings:
    """Look for every blob that the log names; `whole` reads each of them, as only so a damaged one is found.

    Orphans belong to no guild, so they are looked for only when all are. Raises Unavailable.
    """
    stored = await _names(store)
    unseen = set(stored)
    found, damaged = 0, set[str]()
    alive = (await read_generations(client)).alive
    lost, again = dict[type[ImageFact], set[str]](), dict[str, str]()
    async for fact in _facts_with_blobs(client, guild):
        if isinstance(fact, ImagePosted) and isinstance(fact.source, StoredFile):
            again[fact.image_id] = _archive_again(fact)
        for name in list_blobs([fact]):
            if _taken_out(unseen, name) and whole and not await _is_whole(store, name):
                damaged.add(name)
            if not _missed(fact, alive):
                continue
            if name not in damaged and (bytes.fromhex(name) in stored or await store.exists(name)):
                found += 1
            else:
                lost.setdefault(type(fact), set()).add(fact.image_id)
    return BlobFindings(
        found,
        frozenset(lost.get(ImageDownloaded, ())),
        frozenset(lost.get(ImagePreprocessed, ())),
        frozenset(lost.get(ImageFingerprinted, ())),
        await _unused(unseen, store, catalogue, grace_s) if guild is None else (),
        again,
    )


async def find_orphans(client: Client, store: FileBlobStore, catalogue: Catalogue, grace_s: float) -> tuple[str, ...]:
    """The blobs that nobody put for so long and that no fact and no document names. Raises Unavailable."""
    unseen = await _names(store)
    if unseen:
        async for fact in _facts_with_blobs(client, None):
            for name in list_blobs([fact]):
                _taken_out(unseen, name)
    return await _unused(unseen, store, catalogue, grace_s)


async def _facts_with_blobs(client: Client, guild: str | None) -> AsyncIterator[ImageFact]:
    filters = [kind_filter(kind) if guild is None else guild_filter(kind, guild) for kind in BLOB_FACTS]
    async with aclosing(read_log(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(recorded.fact, ImageFact):
                yield recorded.fact


async def _names(store: FileBlobStore) -> set[bytes]:
    """What the store has. Names as bytes, which are half as large."""
    return {bytes.fromhex(name) for name in await store.list_untouched_since(0)}


def _taken_out(unseen: set[bytes], name: str) -> bool:
    """Whether the name was still there."""
    before = len(unseen)
    unseen.discard(bytes.fromhex(name))
    return len(unseen) < before


async def _unused(left: Collection[bytes], store: FileBlobStore, catalogue: Catalogue, grace_s: float) -> tuple[str, ...]:
    """Those of the names that are left which nobody is about to need.

    A document that names a blob whose facts are lost is a gap of its own: until it is closed, the blob stays.
    """
    old = [name for each in left if await store.seconds_since_put(name := each.hex()) > grace_s]
    return tuple([name for name in sorted(old) if not await catalogue.uses(name)])


def _missed(fact: ImageFact, alive: Collection[Generation]) -> bool:
    """Whether its blobs should be there: a local file once it is downloaded, and the rest as long as a generation compares it."""
    match fact:
        case ImageDownloaded():
            return True
        case ImagePreprocessed():
            return any(fact.preprocessing == each.preprocessing for each in alive)
        case ImageFingerprinted():
            return any(fact.generation == each.name for each in alive)
        case _:
            return False


def _archive_again(post: ImagePosted) -> str:
    return f"mapseek archive {shlex.quote(unquote(urlsplit(post.message_link).path))} --guild {post.guild_id}"


async def _is_whole(store: FileBlobStore, name: str) -> bool:
    try:
        await store.get(name)
    except BlobMissing:
        return False
    return True
