"""What the log has of every image: which facts, what its stages have yet to work on, dead letters, and requests for removal.

Facts are read as sets of image ids, from the subjects alone. The subject of a fact names its guild, its image and its generation,
and the server lists 100,000 subjects in one reply without reading a message. A million images make eight such lists. Each id is
kept in memory once: some hundred bytes an image.

Kinds of facts are read in the order in which an image passes through them. Between the input and the output of a stage we read what
the stage has yet to do. So an image that is missing from the output has no work pending or is on the way, however busy the archive
is.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from contracts.events import (
    FACTS,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageFingerprinted,
    ImageHidden,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    ImageShown,
    ImageTurn,
    RemovalRequested,
)
from contracts.generations import Generation
from contracts.stage import Stage
from contracts.subjects import (
    FAILURES,
    IMAGES,
    REMOVALS,
    RETRIES,
    consumer_name,
    entity_of,
    failure_filter,
    guild_filter,
    kind_filter,
    parse_dead_letter,
    past_consumer_name,
    retry_filter,
    turn_of,
    variant_filter,
)
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer
from infra.nats.reader import decode_or_warn, list_subjects, read_last_entries, read_log
from stages import download, embed, erase, fingerprint, persist, preprocess, remove

ARCHIVE_LANE = "image"

LIST_TIMEOUT_S = 60
"""The server lists the subjects of a million images in a second or two."""

ImageIds = Set[str]
"""Image ids."""

PostedImages = dict[str, dict[int, dict[int, list[str]]]]
"""The images that the log has, by guild, channel and message. Without local ones: Discord does not have those."""


async def find_waiting_images(client: Client, stage: Stage[Any], generation: Generation) -> set[str]:
    """Return the images whose facts a stage's consumers have not settled yet, and those whose dead letters were retried for it.

    This reads only the subjects behind the position up to which a consumer has settled everything. Images from before the start of
    a generation have a consumer of their own.
    """
    bound = consumer_name(stage.name, ARCHIVE_LANE, generation.name)
    found = await _letters_put_back(client, stage.name)
    for consumer in (consumer_name(stage.name, ARCHIVE_LANE), bound):
        found |= await _unsettled(client, consumer)
    return found | await _unsettled(client, past_consumer_name(bound), until=generation.sequence)


async def _unsettled(client: Client, name: str, until: float = math.inf) -> set[str]:
    consumer = await read_consumer(client, IMAGES, name)
    if consumer is None or not consumer.unsettled:
        return set()
    async with aclosing(read_log(client, IMAGES, consumer.filters, after=consumer.settled, bodies=False)) as messages:
        return {entity_of(message.subject)[1] async for message in messages if message.metadata.sequence.stream <= until}


async def _letters_put_back(client: Client, stage: str) -> set[str]:
    entries = await read_last_entries(client, RETRIES, [retry_filter(stage)])
    return {_read_image_id(entry.headers) for entry in entries if parse_dead_letter(entry.subject).family == ARCHIVE_LANE}


async def list_dead_letters(client: Client, generation: Generation) -> dict[str, dict[str, str]]:
    """Return the ids of the dead letters by stage and image, without those of other generations.

    An id is the end of the subject: `embed/image/123`, with the generation if there is one (`embed/image/123/g1`).
    """
    found: dict[str, dict[str, str]] = {}
    filters = [failure_filter("*", ARCHIVE_LANE), failure_filter("*", ARCHIVE_LANE, generation.name)]
    async with aclosing(read_log(client, FAILURES, filters, bodies=False)) as messages:
        async for message in messages:
            letter = parse_dead_letter(message.subject)
            found.setdefault(letter.stage, {})[_read_image_id(message.headers)] = letter.id
    return found


def _read_image_id(headers: Mapping[str, str] | None) -> str:
    return entity_of((headers or {}).get("mapseek-subject", ""))[1]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited: all guilds or one, in the active generation."""

    client: Client
    generation: Generation
    guild: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The images that have each fact.

    `turned` were ever hidden, or shown again. The catalogue should have these, `rejected` and `removed`, unless the persist stage
    has yet to work on them. `waiting` has the images
    that each stage has yet to work on, by the stage's name.
    """

    posted: ImageIds
    downloaded: ImageIds
    preprocessed: ImageIds
    fingerprinted: ImageIds
    embedded: ImageIds
    indexed: ImageIds
    rejected: ImageIds
    removed: ImageIds
    turned: ImageIds
    waiting: Mapping[str, ImageIds]


@dataclass(frozen=True, slots=True)
class FinalState:
    """What the log has after everything else was read: the images posted by then, and those that were rejected or removed."""

    posted: ImageIds
    rejected: ImageIds
    removed: ImageIds


async def read_chain(scope: Scope) -> Chain:
    """Read which facts each image has. Raises Unavailable."""
    waiting: dict[str, ImageIds] = {}
    posted = await list_images_with(scope, ImagePosted)
    waiting["download"] = await find_waiting_images(scope.client, download.STAGE, scope.generation)
    downloaded = await list_images_with(scope, ImageDownloaded)
    waiting["preprocess"] = await find_waiting_images(scope.client, preprocess.STAGE, scope.generation)
    preprocessed = await list_images_with(scope, ImagePreprocessed)
    for stage in (fingerprint.STAGE, embed.STAGE):
        waiting[stage.name] = await find_waiting_images(scope.client, stage, scope.generation)
    fingerprinted = await list_images_with(scope, ImageFingerprinted)
    embedded = await list_images_with(scope, ImageEmbedded)
    rejected, removed = await list_images_with(scope, ImageRejected), await list_images_with(scope, ImageRemoved)
    turned = await list_images_with(scope, ImageHidden) | await list_images_with(scope, ImageShown)
    waiting["persist"] = await find_waiting_images(scope.client, persist.STAGE, scope.generation)
    waiting["erase"] = await find_waiting_images(scope.client, erase.STAGE, scope.generation)
    indexed = await list_images_with(scope, ImageIndexed)
    return Chain(posted, downloaded, preprocessed, fingerprinted, embedded, indexed, rejected, removed, turned, waiting)


async def read_final_state(scope: Scope) -> FinalState:
    """Read the images that are posted, rejected and removed now. Call it after everything else is read. Raises Unavailable."""
    return FinalState(*[await list_images_with(scope, kind) for kind in (ImagePosted, ImageRejected, ImageRemoved)])


async def list_images_with(scope: Scope, kind: type[ImageFact]) -> ImageIds:
    """Return the images that have a fact of this kind; of the scope's generation, if each generation has its own such facts."""
    variant = None if kind.variant is None else scope.generation.variant_token(kind.variant)
    return {parse_image_id(subject) for subject in await _subjects_of(scope, kind, variant)}


async def find_not_erased(scope: Scope, removed: ImageIds) -> ImageIds:
    """Return those of the removed images of which the log keeps more than it should.

    A late ImageIndexed is not counted: it says no more than the tombstone.
    """
    kinds = [kind for kind in FACTS.values() if issubclass(kind, ImageFact) and kind not in (ImageRemoved, ImageIndexed)]
    left = [removed & {parse_image_id(subject) for subject in await _subjects_of(scope, kind)} for kind in kinds if removed]
    return frozenset().union(*left)


async def _subjects_of(scope: Scope, kind: type[ImageFact], variant: str | None = None) -> list[str]:
    if scope.guild is not None:
        subjects = guild_filter(kind, scope.guild)
    else:
        subjects = kind_filter(kind) if variant is None else variant_filter(kind, variant)
    found = await list_subjects(scope.client, IMAGES, [subjects], timeout=LIST_TIMEOUT_S)
    return [subject for subject in found if variant is None or subject.endswith(f".{variant}")]


def parse_image_id(subject: str) -> str:
    """Return the id of the image that a fact's subject is about. Each id is interned: kept in memory once."""
    return sys.intern(entity_of(subject)[1])


async def read_posted_images(client: Client, guild: str | None = None) -> PostedImages:
    """Read the posts of all guilds or of one. Raises Unavailable."""
    posted: PostedImages = {}
    filters = [kind_filter(ImagePosted) if guild is None else guild_filter(ImagePosted, guild)]
    async with aclosing(read_log(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(post := recorded.fact, ImagePosted) and post.message_id.isdigit():
                channel = posted.setdefault(post.guild_id, {}).setdefault(int(post.channel_id), {})
                channel.setdefault(int(post.message_id), []).append(post.image_id)
    return posted


async def read_hidden_images(client: Client, guild: str | None = None) -> ImageIds:
    """Return the images that are hidden now: in the log, but not shown by their message. Raises Unavailable.

    What was hidden is read first, so that an image that is shown again meanwhile is not among them.
    """
    hidden, shown = [await _read_last_turns(client, kind, guild) for kind in (ImageHidden, ImageShown)]
    return {image for image, turn in hidden.items() if turn > shown.get(image, 0)}


async def _read_last_turns(client: Client, kind: type[ImageTurn], guild: str | None) -> dict[str, int]:
    """Return the last turn of each image that has a fact of this kind. The subjects have the turns: no fact is read."""
    filters = [kind_filter(kind) if guild is None else guild_filter(kind, guild)]
    last: dict[str, int] = {}
    for subject in await list_subjects(client, IMAGES, filters, timeout=LIST_TIMEOUT_S):
        image = parse_image_id(subject)
        last[image] = max(turn_of(subject), last.get(image, 0))
    return last


@dataclass(slots=True)
class RequestedRemovals:
    """The images that requests for removal are about, by what became of the request.

    `pending`: the remove stage has yet to work on it; this set may have too many images. `handled`: the stage has worked on it, so
    the same request would not be recorded again. `letters`: the stage gave up; the value is the id of the dead letter.
    """

    pending: set[str] = field(default_factory=set)
    handled: set[str] = field(default_factory=set)
    letters: dict[str, str] = field(default_factory=dict)


async def read_removals(client: Client, posted: PostedImages) -> RequestedRemovals:
    """Read which posted images somebody requested to remove. Raises Unavailable."""
    found = RequestedRemovals()
    settled, put_back = await _settled_until(client), await _requests_put_back(client)
    letters = await _dead_removals(client)
    async with aclosing(read_log(client, REMOVALS, [kind_filter(RemovalRequested)])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is None or not isinstance(request := recorded.fact, RemovalRequested):
                continue
            if message.metadata.sequence.stream > settled or message.subject in put_back:
                found.pending.update(_list_possible_images(request, posted))
            elif message.subject in letters:
                found.letters.update(dict.fromkeys(_list_images(request, posted), letters[message.subject]))
            else:
                found.handled.update(_list_images(request, posted))
    return found


def _list_possible_images(request: RemovalRequested, posted: PostedImages) -> Iterator[str]:
    """Yield the images that a request may be about. For a request about an author these are all images of the guild."""
    for channel, messages in posted.get(request.guild_id, {}).items():
        for message, images in messages.items():
            if request.scope == "image":
                yield from (image for image in images if (image, str(message)) == (request.target, request.message_id))
            elif request.scope in ("guild", "author") or request.target in (str(channel), str(message)):
                yield from images


def _list_images(request: RemovalRequested, posted: PostedImages) -> Iterator[str]:
    """Yield the images of a request about an image, a message or a channel. The other requests are recorded again each time.

    A request to remove an image that expired may rightly have removed nothing: the image was shown again.
    """
    if request.scope in ("image", "message", "channel") and not request.expired:
        yield from (image for image in _list_possible_images(request, posted) if not remove.is_kept(request, image))


async def _settled_until(client: Client) -> int:
    """Return the position up to which the remove stage has worked on every request; 0 if its consumer does not exist yet."""
    consumer = await read_consumer(client, REMOVALS, consumer_name(remove.STAGE.name, RemovalRequested.family))
    if consumer is None:
        return 0
    return consumer.settled if consumer.in_flight else consumer.delivered


async def _requests_put_back(client: Client) -> set[str]:
    entries = await read_last_entries(client, RETRIES, [retry_filter(remove.STAGE.name)])
    return {entry.headers.get("mapseek-subject", "") for entry in entries}


async def _dead_removals(client: Client) -> dict[str, str]:
    """Return the ids of the remove stage's dead letters, by the subject of the request that failed."""
    found = {}
    letters = read_log(client, FAILURES, [failure_filter(remove.STAGE.name, RemovalRequested.family)], bodies=False)
    async with aclosing(letters) as messages:
        async for message in messages:
            found[(message.headers or {}).get("mapseek-subject", "")] = parse_dead_letter(message.subject).id
    return found
