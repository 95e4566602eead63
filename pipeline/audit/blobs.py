"""Whether the store has the blobs that the log names, whole, and no others.

One pass over the log compares the two: of the names in the store, those that come by are taken out, and what is left is an orphan.
A name that is not among them was put just now, or came by before, so the store is asked for it.
"""

import shlex
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client

from contracts.errors import BlobMissing
from contracts.events import ImageDownloaded, ImageFact, ImagePosted, ImagePreprocessed, StoredFile
from contracts.ports import Catalogue
from contracts.subjects import IMAGES, guild_filter, kind_filter
from infra.blobs.files import FileBlobStore
from infra.nats.tail import past, readable
from stages.erase import blobs_of

NAMING = (ImagePosted, ImageDownloaded, ImagePreprocessed)
"""The facts that name blobs, and the only ones whose bodies an audit reads."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How many names of blobs led to one, which images want one that is missing or damaged, and what no fact and no document names.

    `originals` were posted so, `pictures` were made of those. `again` is the command that archives a local image once more.
    """

    found: int
    originals: frozenset[str]
    pictures: frozenset[str]
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
    advance: Callable[[], None] = lambda: None,
) -> Stored:
    """Look for every blob that the log names; `whole` reads each of them, as only so a damaged one is found.

    Orphans belong to no guild, so they are looked for only when all are. Raises Unavailable.
    """
    unseen = await _names(store)
    found, lost, again = 0, dict[type[ImageFact], set[str]](), dict[str, str]()
    async for fact in _facts_with_blobs(client, guild):
        advance()
        if isinstance(fact, ImagePosted):
            if isinstance(fact.source, StoredFile):
                path = shlex.quote(unquote(urlsplit(fact.message_link).path))
                again[fact.image_id] = f"mapseek archive {path} --guild {fact.guild_id}"
            continue
        for name in blobs_of([fact]):
            first = _taken_out(unseen, name)
            if await (_is_whole(store, name) if first and whole else store.exists(name)):
                found += 1
            else:
                lost.setdefault(type(fact), set()).add(fact.image_id)
    return Stored(
        found,
        frozenset(lost.get(ImageDownloaded, ())),
        frozenset(lost.get(ImagePreprocessed, ())),
        await _unused(unseen, store, catalogue, grace_s) if guild is None else (),
        again,
    )


async def orphans(client: Client, store: FileBlobStore, catalogue: Catalogue, grace_s: float) -> tuple[str, ...]:
    """The blobs that nobody put for so long and that no fact and no document names. Raises Unavailable."""
    unseen = await _names(store)
    if unseen:
        async for fact in _facts_with_blobs(client, None):
            for name in blobs_of([fact]):
                _taken_out(unseen, name)
    return await _unused(unseen, store, catalogue, grace_s)


async def _facts_with_blobs(client: Client, guild: str | None) -> AsyncIterator[ImageFact]:
    filters = [kind_filter(kind) if guild is None else guild_filter(kind, guild) for kind in NAMING]
    async with aclosing(past(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = readable(message)
            if recorded is not None and isinstance(recorded.fact, ImageFact):
                yield recorded.fact


async def _names(store: FileBlobStore) -> set[bytes]:
    """What the store has. Names as bytes, which are half as large."""
    return {bytes.fromhex(name) for name in await store.untouched_since(0)}


def _taken_out(unseen: set[bytes], name: str) -> bool:
    """Whether the name was still there."""
    before = len(unseen)
    unseen.discard(bytes.fromhex(name))
    return len(unseen) < before


async def _unused(left: Collection[bytes], store: FileBlobStore, catalogue: Catalogue, grace_s: float) -> tuple[str, ...]:
    """Those of the names that are left which nobody is about to need.

    A document that names a blob whose facts are lost is a gap of its own: until it is closed, the blob stays.
    """
    old = [name for each in left if await store.untouched_for(name := each.hex()) > grace_s]
    return tuple([name for name in sorted(old) if not await catalogue.uses(name)])


async def _is_whole(store: FileBlobStore, name: str) -> bool:
    try:
        await store.get(name)
    except BlobMissing:
        return False
    return True
