"""Compare the blob store with the log: every blob that the log names should be there and whole, and no other blob.

One pass over the log compares the two. The names in the store are listed first, so a name that the list lacks may be new: the store
is asked for it again. A blob that no fact names is an orphan.
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
    """What was found about the blobs.

    `found` counts the names that have a whole blob. `originals`, `pictures` and `fingerprints` are the images whose blob of that
    kind is missing or damaged. `orphans` are blobs that no fact and no document names. `archive_commands` are commands that archive
    a local image again, by image id.
    """

    found: int
    originals: frozenset[str]
    pictures: frozenset[str]
    fingerprints: frozenset[str]
    orphans: tuple[str, ...]
    archive_commands: Mapping[str, str]


async def compare_blobs(
    client: Client,
    store: FileBlobStore,
    catalogue: Catalogue,
    *,
    grace_s: float,
    guild: str | None = None,
    whole: bool = True,
) -> BlobFindings:
    """Look for every blob that the log names. If `whole`, read each of them: a damaged blob cannot be found otherwise.

    Orphans belong to no guild, so they are listed only if `guild` is None. Raises Unavailable.
    """
    stored = await _list_names(store)
    unseen = set(stored)
    found, damaged = 0, set[str]()
    alive = (await read_generations(client)).alive
    lost, archive_commands = dict[type[ImageFact], set[str]](), dict[str, str]()
    async for fact in _read_blob_facts(client, guild):
        if isinstance(fact, ImagePosted) and isinstance(fact.source, StoredFile):
            archive_commands[fact.image_id] = _format_archive(fact)
        for name in list_blobs([fact]):
            if _take_out(unseen, name) and whole and not await _is_whole(store, name):
                damaged.add(name)
            if not _needs_blobs(fact, alive):
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
        await _find_unused(unseen, store, catalogue, grace_s) if guild is None else (),
        archive_commands,
    )


async def find_orphans(client: Client, store: FileBlobStore, catalogue: Catalogue, grace_s: float) -> tuple[str, ...]:
    """Return the blobs that no fact and no document names and that were not put for `grace_s` seconds. Raises Unavailable."""
    unseen = await _list_names(store)
    if unseen:
        async for fact in _read_blob_facts(client, None):
            for name in list_blobs([fact]):
                _take_out(unseen, name)
    return await _find_unused(unseen, store, catalogue, grace_s)


async def _read_blob_facts(client: Client, guild: str | None) -> AsyncIterator[ImageFact]:
    filters = [kind_filter(kind) if guild is None else guild_filter(kind, guild) for kind in BLOB_FACTS]
    async with aclosing(read_log(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(recorded.fact, ImageFact):
                yield recorded.fact


async def _list_names(store: FileBlobStore) -> set[bytes]:
    """Return the names in the store, as bytes: they are half as large as strings."""
    return {bytes.fromhex(name) for name in await store.list_untouched_since(0)}


def _take_out(unseen: set[bytes], name: str) -> bool:
    """Remove a name from the set, and return whether it was there."""
    before = len(unseen)
    unseen.discard(bytes.fromhex(name))
    return len(unseen) < before


async def _find_unused(left: Collection[bytes], store: FileBlobStore, catalogue: Catalogue, grace_s: float) -> tuple[str, ...]:
    """Return those of the remaining names that nothing needs or is about to need.

    A document may name a blob whose facts are lost. That is another gap, and until it is closed the blob stays.
    """
    old = [name for each in left if await store.seconds_since_put(name := each.hex()) > grace_s]
    return tuple([name for name in sorted(old) if not await catalogue.uses(name)])


def _needs_blobs(fact: ImageFact, alive: Collection[Generation]) -> bool:
    """Return whether the fact's blobs should be in the store.

    Those of a download always should. Those of pictures and fingerprints should as long as a generation uses them.
    """
    match fact:
        case ImageDownloaded():
            return True
        case ImagePreprocessed():
            return any(fact.preprocessing == each.preprocessing for each in alive)
        case ImageFingerprinted():
            return any(fact.generation == each.name for each in alive)
        case _:
            return False


def _format_archive(post: ImagePosted) -> str:
    return f"mapseek archive {shlex.quote(unquote(urlsplit(post.message_link).path))} --guild {post.guild_id}"


async def _is_whole(store: FileBlobStore, name: str) -> bool:
    try:
        await store.get(name)
    except BlobMissing:
        return False
    return True
