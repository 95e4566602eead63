"""In-memory adapters of our own ports, for tests of code that uses a port. They behave as contracts/ports specifies."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from contracts.envelope import Origin
from contracts.errors import BlobMissing, Retry, Unavailable
from contracts.events import (
    AlertCancelled,
    AlertDelivered,
    AlertEmbedded,
    AlertSet,
    Fact,
    ImageFact,
    ImageHidden,
    ImagePosted,
    ImageRemoved,
    ImageTurn,
    Quad,
    SearchAnswered,
)
from contracts.ports import (
    AnswerPage,
    Candidate,
    Catalogue,
    CatalogueEntry,
    CatalogueRecord,
    Document,
    F,
    Fingerprint,
    KnownImage,
    Overview,
    PrintComparison,
    QueryFingerprint,
    ReadAgain,
    SearchStep,
    StateEntry,
    build_known_images,
    is_hidden,
    is_hidden_by,
)
from contracts.subjects import subject_of


class MemoryJournal:
    """Records each fact once. While `down` is true, the log is unreachable."""

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
        if isinstance(fact, ImagePosted) and any(isinstance(each, ImageRemoved) and each.key == fact.key for each in self.facts):
            return False
        self.recorded[subject_of(fact)] = (fact, origin)
        return True

    async def holds(self, fact: type[Fact], *key: str) -> bool:
        return await self.fetch(fact, *key) is not None

    async def answered(self) -> AsyncIterator[SearchAnswered]:
        """Iterate over the answered searches, without end."""
        seen = 0
        while True:
            answers = [fact for fact in self.facts if isinstance(fact, SearchAnswered)]
            for answer in answers[seen:]:
                yield answer
            seen = len(answers)
            await asyncio.sleep(0.01)

    async def fetch(self, fact: type[F], *key: str) -> F | None:
        self._reach()
        return next((each for each in self.facts if isinstance(each, fact) and each.key == key), None)

    async def fetch_first(self, fact: type[F], *entity: str) -> F | None:
        self._reach()
        return next((each for each in self.facts if isinstance(each, fact) and each.key[:-1] == entity), None)

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("log", "switched off by the test")


class MemoryState:
    """Values by key.

    A revision is the number of the change that wrote the value. While `down` is true, the server is unreachable.
    """

    def __init__(self) -> None:
        self.entries: dict[str, StateEntry] = {}
        self.changes = 0
        self.down = False

    async def get(self, key: str) -> StateEntry | None:
        self._reach()
        return self.entries.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self._reach()
        self.changes += 1
        self.entries[key] = StateEntry(value, self.changes)

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        self._reach()
        if self._revision(key) != revision:
            return False
        await self.put(key, value)
        return True

    async def delete(self, key: str) -> None:
        self._reach()
        self.entries.pop(key, None)

    async def list_under(self, prefix: str) -> dict[str, bytes]:
        self._reach()
        return {key: entry.value for key, entry in self.entries.items() if key.startswith(f"{prefix}.")}

    def _revision(self, key: str) -> int:
        return self.entries[key].revision if key in self.entries else 0

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("log", "switched off by the test")


class MemoryPosts:
    """The posts of a MemoryJournal."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    async def of_message(self, guild_id: str, message_id: str) -> list[ImagePosted]:
        return [post for post in self._posts() if (post.guild_id, post.message_id) == (guild_id, message_id)]

    async def read_message(self, guild_id: str, message_id: str) -> list[KnownImage]:
        about = (fact for fact in self._journal.facts if isinstance(fact, ImagePosted | ImageTurn | ImageRemoved))
        return build_known_images(fact for fact in about if (fact.guild_id, fact.message_id) == (guild_id, message_id))

    async def list_hidden(self, *, before: datetime) -> AsyncIterator[ImageHidden]:
        hidden = (fact for fact in self._journal.facts if isinstance(fact, ImageHidden) and fact.hidden_at < before)
        for fact in sorted(hidden, key=lambda each: each.hidden_at):
            known = {each.image_id: each for each in await self.read_message(fact.guild_id, fact.message_id)}.get(fact.image_id)
            if known is not None and is_hidden_by(known, fact):
                yield fact

    async def of_guild(
        self, guild_id: str, *, channel_id: str | None = None, author_id: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[ImagePosted]:
        for post in self._posts():
            if (
                post.guild_id == guild_id
                and channel_id in (None, post.channel_id, post.thread_of)
                and author_id in (None, post.author.id)
                and (since is None or post.posted_at >= since)
            ):
                yield post

    def _posts(self) -> list[ImagePosted]:
        return [fact for fact in self._journal.facts if isinstance(fact, ImagePosted)]


class MemoryErasure:
    """Erases facts from a MemoryJournal. `persons` lists the erased persons, `unreadable` the erasures of unreadable messages."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self.persons: list[tuple[str, str]] = []
        self.unreadable: list[tuple[str, str, str]] = []
        self._read: list[list[ImageFact]] = []

    async def history(self, guild_id: str, image_id: str) -> tuple[list[ImageFact], int]:
        facts = [fact for fact in self._journal.facts if isinstance(fact, ImageFact)]
        self._read.append([fact for fact in facts if (fact.guild_id, fact.image_id) == (guild_id, image_id)])
        return self._read[-1], len(self._read) - 1

    async def erase_image(self, guild_id: str, image_id: str, until: int) -> None:
        for fact in self._read[until]:
            if not isinstance(fact, ImageRemoved):
                self._journal.recorded.pop(subject_of(fact), None)

    async def erase_person(self, guild_id: str, person_id: str) -> None:
        self.persons.append((guild_id, person_id))

    async def erase_unreadable(
        self, guild_id: str, scope: Literal["message", "channel", "author", "guild"], target: str, until: datetime
    ) -> None:
        self.unreadable.append((guild_id, scope, target))


class MemoryUnreadable:
    """Unreadable messages by guild id and message id: `kept`, and `waiting` to be read again, since a test put them back."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[str, object, str]] = {}
        self.waiting: dict[tuple[str, str], str] = {}
        self._changed = asyncio.Event()

    async def keep(
        self,
        guild_id: str,
        channel_id: str,
        message_id: str,
        payload: object,
        reason: str,
        error: BaseException | None = None,
        *,
        thread_of: str | None = None,
    ) -> bool:
        is_new = (guild_id, message_id) not in self.kept
        self.kept.setdefault((guild_id, message_id), (channel_id, payload, reason))
        return is_new

    async def has(self, guild_id: str, message_id: str) -> bool:
        return (guild_id, message_id) in {**self.kept, **self.waiting}

    def put_back(self, guild_id: str, message_id: str) -> None:
        self.waiting[guild_id, message_id] = self.kept.pop((guild_id, message_id))[0]
        self._changed.set()

    async def follow_retries(self, read_again: ReadAgain) -> None:
        while True:
            for (guild_id, message_id), channel_id in list(self.waiting.items()):
                try:
                    await read_again(guild_id, channel_id, message_id)
                except (Retry, Unavailable):
                    self._changed.set()
                else:
                    del self.waiting[guild_id, message_id]
            await asyncio.sleep(0)
            await self._changed.wait()
            self._changed.clear()


class MemoryAlerts:
    """The open alerts of a MemoryJournal."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    async def list_open(self, guild_id: str, person_id: str | None = None) -> list[AlertSet]:
        facts = self._journal.facts
        closed = {fact.key for fact in facts if isinstance(fact, AlertCancelled)}
        closed |= {fact.key[:3] for fact in facts if isinstance(fact, AlertDelivered) and fact.outcome in ("direct", "mention")}
        alerts = [fact for fact in facts if isinstance(fact, AlertSet) and fact.key not in closed]
        return [each for each in alerts if each.guild_id == guild_id and person_id in (None, each.person.id)]

    async def list_comparable(self, guild_id: str, generation: str) -> list[AlertSet]:
        found = {alert.key: alert for alert in await self.list_open(guild_id)}
        embedded = {fact.key: fact for fact in self._journal.facts if isinstance(fact, AlertEmbedded)}
        as_set = [alert for alert in found.values() if alert.generation == generation]
        return as_set + [
            alert.model_copy(update=dict(embedded[*key, generation]))
            for key, alert in found.items()
            if (*key, generation) in embedded and alert not in as_set
        ]


class FixedOverview:
    """An overview that the test sets."""

    def __init__(self) -> None:
        self.shown = Overview(images=0, stored_bytes=0, backlogs=())

    async def read_overview(self, guild_id: str) -> Overview:
        return self.shown


class MemoryBlobs:
    """Blobs by their digest."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.untouched_s = 3600.0

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

    async def seconds_since_put(self, name: str) -> float:
        return self.untouched_s if name in self.blobs else math.inf


class MemoryFingerprinter:
    """Returns a digest of the picture as its fingerprint. `asked` lists the calls, with `places` for queries."""

    def __init__(self, method: str = "f1", places: tuple[Quad, ...] = ()) -> None:
        self.method = method
        self.places = places
        self.asked: list[bytes] = []

    async def fingerprint(self, picture: bytes) -> Fingerprint:
        self.asked.append(picture)
        digest = hashlib.sha256(picture)
        return Fingerprint(f"{self.method} of ".encode() + digest.digest(), digest.hexdigest(), 100, len(picture))

    async def examine(self, picture: bytes) -> QueryFingerprint:
        return QueryFingerprint(await self.fingerprint(picture), self.places)


class MemoryCatalogue:
    """Keeps documents, vectors and tombstones in dictionaries. While `down` is true, every call raises Unavailable."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.vectors: dict[tuple[str, str], bytes] = {}
        self.removed_ids: set[str] = set()
        self.down = False
        self._beside: MemoryCatalogue | None = None

    async def merge(self, image_id: str, fields: Document, *, unless: Callable[[Document], bool] | None = None) -> bool:
        self._reach()
        if image_id in self.removed_ids:
            return False
        document = self.documents.setdefault(image_id, {})
        if unless is None or not unless(document):
            document.update(fields)
        return True

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        self._reach()
        if image_id not in self.removed_ids:
            self.documents.setdefault(image_id, {})
            self.vectors[image_id, generation] = vector

    async def vector(self, image_id: str, generation: str) -> bytes | None:
        self._reach()
        return self.vectors.get((image_id, generation))

    async def remove(self, image_id: str) -> None:
        self._reach()
        self.removed_ids.add(image_id)
        for each in (self, self._beside):
            if each is not None:
                each.documents.pop(image_id, None)
                each.vectors = {key: vector for key, vector in each.vectors.items() if key[0] != image_id}

    async def is_removed(self, image_id: str) -> bool:
        self._reach()
        return image_id in self.removed_ids

    async def uses(self, blob: str) -> bool:
        self._reach()
        named = ("original", "blob"), ("media", "pixels"), ("media", "thumbnail"), ("fingerprint", "blob")
        return any(document.get(part, {}).get(field) == blob for document in self.documents.values() for part, field in named)

    async def entries(self, image_ids: Collection[str], *, with_hidden: bool = False) -> dict[str, CatalogueEntry]:
        self._reach()
        found = (CatalogueEntry(each, self.documents[each]) for each in image_ids if each in self.documents)
        return {entry.image_id: entry for entry in found if with_hidden or not is_hidden(entry.document)}

    async def find_file(self, guild_id: str, blob: str) -> dict[str, CatalogueEntry]:
        self._reach()
        found = {each for each, document in self.documents.items() if document.get("original", {}).get("blob") == blob}
        return await self.entries([each for each in found if self._guild_of(each) == guild_id])

    async def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        self._reach()
        for image_id in sorted(self.documents):
            if guild_id in (None, self._guild_of(image_id)) and not is_hidden(self.documents[image_id]):
                yield CatalogueEntry(image_id, self.documents[image_id])

    async def count(self, guild_id: str | None = None) -> int:
        self._reach()
        return sum(guild_id in (None, self._guild_of(image_id)) for image_id in self.documents)

    async def clear(self) -> None:
        self._reach()
        self.documents.clear()
        self.vectors.clear()
        self.removed_ids.clear()

    async def contents(self) -> AsyncIterator[CatalogueRecord]:
        self._reach()
        for image_id in sorted({*self.documents, *self.removed_ids}):
            vectors = {generation: vector for (owner, generation), vector in self.vectors.items() if owner == image_id}
            yield CatalogueRecord(image_id, dict(self.documents.get(image_id, {})), vectors, image_id in self.removed_ids)

    async def drop_generation(self, generation: str) -> int:
        self._reach()
        kept = {key: vector for key, vector in self.vectors.items() if key[1] != generation}
        dropped = len(self.vectors) - len(kept)
        self.vectors = kept
        return dropped

    async def create_replacement(self) -> "MemoryCatalogue":
        self._reach()
        self._beside = MemoryCatalogue()
        return self._beside

    async def replace_with(self, other: Catalogue) -> None:
        self._reach()
        assert isinstance(other, MemoryCatalogue)
        self.documents, self.vectors, self.removed_ids = other.documents, other.vectors, other.removed_ids

    async def ping(self) -> None:
        self._reach()

    async def close(self) -> None:
        """Nothing to close."""

    def _guild_of(self, image_id: str) -> str | None:
        return self.documents[image_id].get("metadata", {}).get("guild_id")

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("catalogue", "switched off by the test")


class MemoryAnswers:
    """Keeps the shown answers in order. The next call raises `failure` if it is set."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, AnswerPage]] = []
        self.steps: list[SearchStep] = []
        self.failure: Exception | None = None

    async def edit(self, application_id: str, token: str, answer: AnswerPage, *, message_id: str | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        self.shown.append((application_id, token, answer))

    async def show_progress(
        self, application_id: str, token: str, step: SearchStep, locale: str, *, message_id: str | None = None
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.steps.append(step)


class MemoryFeatures:
    """A FeatureSearch over what the test adds.

    For any query, `shared` are the images with most features in common, best first, and `alike` those with similar colours.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], dict[str, tuple[Candidate, str]]] = {}
        self.shared: list[str] = []
        self.alike: list[str] = []
        self.asked_for: list[int] = []

    def add(self, guild_id: str, generation: str, image_id: str, fingerprint: str, channel_id: str = "1") -> None:
        known = self.known.setdefault((guild_id, generation), {})
        known[image_id] = (Candidate(image_id, fingerprint), channel_id)

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> list[Candidate]:
        self.asked_for.append(top)
        return self._some(self.shared, guild_id, generation, top, channels)

    async def find_by_colour(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> list[Candidate]:
        return self._some(self.alike, guild_id, generation, top, channels)

    def _some(
        self, wanted: Sequence[str], guild_id: str, generation: str, top: int, channels: Collection[str] | None
    ) -> list[Candidate]:
        known = self.known.get((guild_id, generation), {})
        found = [known[each] for each in wanted if each in known]
        return [candidate for candidate, channel in found if channels is None or channel in channels][:top]

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> dict[str, Candidate]:
        known = self.known.get((guild_id, generation), {})
        return {each: known[each][0] for each in image_ids if each in known}

    async def size(self, guild_id: str, generation: str) -> int:
        return len(self.known.get((guild_id, generation), {}))


class FixedComparer:
    """Returns the comparison that the test set for the bytes of an archived fingerprint.

    Without one the fingerprint is unreadable.
    """

    def __init__(self) -> None:
        self.results: dict[bytes, PrintComparison] = {}
        self.compared: list[bytes] = []
        self.similarities: dict[bytes, float] = {}

    async def compare(
        self, asked: bytes, archived: Mapping[str, bytes], similarities: Mapping[str, float], *, among: int
    ) -> dict[str, PrintComparison]:
        self.compared += archived.values()
        self.similarities |= {data: similarities[name] for name, data in archived.items() if name in similarities}
        return {name: self.results[data] for name, data in archived.items() if data in self.results}
