"""In-memory adapters of our own ports, for tests of what uses a port. They keep the promises that contracts/ports.py makes."""

import hashlib
from collections.abc import AsyncIterator, Collection
from typing import Any

from contracts.envelope import Origin
from contracts.errors import BlobMissing, Unavailable
from contracts.events import Fact
from contracts.ports import Answer, CatalogueEntry, Document
from contracts.subjects import subject_of


class MemoryJournal:
    """Records each fact once. While `down` is set, the log cannot be reached."""

    def __init__(self) -> None:
        self.recorded: dict[str, tuple[Fact, Origin]] = {}
        self.attempts = 0
        self.down = False

    @property
    def facts(self) -> list[Fact]:
        return [fact for fact, _ in self.recorded.values()]

    async def record(self, fact: Fact, origin: Origin) -> bool:
        self.attempts += 1
        self._reach()
        if subject_of(fact) in self.recorded:
            return False
        self.recorded[subject_of(fact)] = (fact, origin)
        return True

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        self._reach()
        return any(isinstance(each, fact) and each.key == key for each in self.facts)

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("log", "switched off by the test")


class MemoryBlobs:
    """Bytes by their digest."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return name

    async def get(self, name: str) -> bytes:
        if name not in self.blobs:
            raise BlobMissing(name)
        return self.blobs[name]

    async def exists(self, name: str) -> bool:
        return name in self.blobs

    async def delete(self, name: str) -> None:
        self.blobs.pop(name, None)


class MemoryCatalogue:
    """Documents, vectors and tombstones in dictionaries. While `down` is set, every call raises Unavailable."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.vectors: dict[tuple[str, str], bytes] = {}
        self.removed: set[str] = set()
        self.down = False

    async def merge(self, image_id: str, fields: Document) -> None:
        self._reach()
        if image_id not in self.removed:
            self.documents.setdefault(image_id, {}).update(fields)

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        self._reach()
        if image_id not in self.removed:
            self.documents.setdefault(image_id, {})
            self.vectors[image_id, generation] = vector

    async def vector(self, image_id: str, generation: str) -> bytes | None:
        self._reach()
        return self.vectors.get((image_id, generation))

    async def remove(self, image_id: str) -> None:
        self._reach()
        self.removed.add(image_id)
        self.documents.pop(image_id, None)
        self.vectors = {key: vector for key, vector in self.vectors.items() if key[0] != image_id}

    async def entries(self, image_ids: Collection[str]) -> dict[str, CatalogueEntry]:
        self._reach()
        return {each: CatalogueEntry(each, self.documents[each]) for each in image_ids if each in self.documents}

    async def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        self._reach()
        for image_id in sorted(self.documents):
            if guild_id in (None, self._guild_of(image_id)):
                yield CatalogueEntry(image_id, self.documents[image_id])

    async def count(self, guild_id: str | None = None) -> int:
        self._reach()
        return sum(guild_id in (None, self._guild_of(image_id)) for image_id in self.documents)

    async def clear(self) -> None:
        self._reach()
        self.documents.clear()
        self.vectors.clear()
        self.removed.clear()

    async def ping(self) -> None:
        self._reach()

    async def close(self) -> None:
        """Nothing to close."""

    def _guild_of(self, image_id: str) -> str | None:
        return self.documents[image_id].get("metadata", {}).get("guild_id")

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("database", "switched off by the test")


class MemoryAnswers:
    """What askers were shown, in order; the next call raises `failure` if there is one."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, Answer]] = []
        self.failure: Exception | None = None

    async def edit(self, application_id: str, token: str, answer: Answer) -> None:
        if self.failure is not None:
            raise self.failure
        self.shown.append((application_id, token, answer))
