"""How far every image has come, as sets of image ids, read from the subjects of the log alone.

The subject of a fact says its guild, its image and its generation, and the server lists 100,000 subjects in one reply, without
reading a message. A million images make eight such lists, of which the ids are kept, each once: some hundred bytes an image.

Kinds are read in the order in which an image passes through them, and between the input and the output of a stage what it has yet
to do. So what is missing from the output was either done with or is on the way, however busy the archive is meanwhile.

The images that the log has, by guild, channel and message: what Discord, and what requests for removal, speak of.

What was asked to be removed, and how far that is: what is gone from Discord may still be on its way out of the log.

The images that a stage has yet to work on: they wait or are at work, were put back by hand, or lie in FAILURES.
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
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
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
"""The images that the log has, by guild, channel and message; local ones are no matter of Discord's."""


async def find_waiting_images(client: Client, stage: Stage[Any], generation: Generation) -> set[str]:
    """The images whose facts a stage's durables have not settled yet, and those that somebody put back for it.

    Only what is behind the last entry up to which a durable settled everything is read, and of that only the subjects. What a
    generation was too late for is a matter of its own durable.
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
    return {_image_of(entry.headers) for entry in entries if parse_dead_letter(entry.subject).family == ARCHIVE_LANE}


async def list_dead_letters(client: Client, generation: Generation) -> dict[str, dict[str, str]]:
    """The ids of the dead letters by stage and image; those of other generations are left out.

    An id is what follows in the subject: `embed/image/123`, with the generation where there is one (`embed/image/123/g1`).
    """
    found: dict[str, dict[str, str]] = {}
    filters = [failure_filter("*", ARCHIVE_LANE), failure_filter("*", ARCHIVE_LANE, generation.name)]
    async with aclosing(read_log(client, FAILURES, filters, bodies=False)) as messages:
        async for message in messages:
            letter = parse_dead_letter(message.subject)
            found.setdefault(letter.stage, {})[_image_of(message.headers)] = letter.id
    return found


def _image_of(headers: Mapping[str, str] | None) -> str:
    return entity_of((headers or {}).get("mapseek-subject", ""))[1]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited: all guilds or one, in the generation that answers."""

    client: Client
    generation: Generation
    guild: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The images that have each fact. Of `rejected` and `removed` the catalogue should know, unless persist has yet to tell it.

    `waiting` are the images that each stage has yet to work on, by its name.
    """

    posted: ImageIds
    downloaded: ImageIds
    preprocessed: ImageIds
    fingerprinted: ImageIds
    embedded: ImageIds
    indexed: ImageIds
    rejected: ImageIds
    removed: ImageIds
    waiting: Mapping[str, ImageIds]


@dataclass(frozen=True, slots=True)
class FinalState:
    """What was known at the very end: the images posted by then, and those whose way is at its end."""

    posted: ImageIds
    rejected: ImageIds
    removed: ImageIds


async def read_chain(scope: Scope) -> Chain:
    """How far the images have come. Raises Unavailable."""
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
    waiting["persist"] = await find_waiting_images(scope.client, persist.STAGE, scope.generation)
    waiting["erase"] = await find_waiting_images(scope.client, erase.STAGE, scope.generation)
    indexed = await list_images_with(scope, ImageIndexed)
    return Chain(posted, downloaded, preprocessed, fingerprinted, embedded, indexed, rejected, removed, waiting)


async def read_final_state(scope: Scope) -> FinalState:
    """What is known now, when everything else was read. Raises as `read_chain`."""
    return FinalState(*[await list_images_with(scope, kind) for kind in (ImagePosted, ImageRejected, ImageRemoved)])


async def list_images_with(scope: Scope, kind: type[ImageFact]) -> ImageIds:
    """The images that have a fact of this kind, for the scope's generation where there is one for each."""
    variant = None if kind.variant is None else scope.generation.variant_token(kind.variant)
    return {parse_image_id(subject) for subject in await _subjects_of(scope, kind, variant)}


async def find_not_erased(scope: Scope, removed: ImageIds) -> ImageIds:
    """Those of removed images of which the log keeps more than it should: a late ImageIndexed says no more than the tombstone."""
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
    """The image that a fact's subject is about; every id is kept in memory once."""
    return sys.intern(entity_of(subject)[1])


async def read_posted_images(client: Client, guild: str | None = None) -> PostedImages:
    """Read the posts. Raises Unavailable."""
    posted: PostedImages = {}
    filters = [kind_filter(ImagePosted) if guild is None else guild_filter(ImagePosted, guild)]
    async with aclosing(read_log(client, IMAGES, filters)) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is not None and isinstance(post := recorded.fact, ImagePosted) and post.message_id.isdigit():
                channel = posted.setdefault(post.guild_id, {}).setdefault(int(post.channel_id), {})
                channel.setdefault(int(post.message_id), []).append(post.image_id)
    return posted


@dataclass(slots=True)
class RequestedRemovals:
    """The images that requests for removal are about, by what became of the request.

    `leaving`: the remove stage has yet to work on it; these may be too many. `asked`: it has, so that the same request would not be
    recorded again. `letters`: it gave up, with the id of the dead letter.
    """

    leaving: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    letters: dict[str, str] = field(default_factory=dict)


async def read_removals(client: Client, posted: PostedImages) -> RequestedRemovals:
    """What is asked for the removal of posted images. Raises Unavailable."""
    found = RequestedRemovals()
    settled, put_back = await _settled_until(client), await _requests_put_back(client)
    letters = await _letters(client)
    async with aclosing(read_log(client, REMOVALS, [kind_filter(RemovalRequested)])) as messages:
        async for message in messages:
            recorded = decode_or_warn(message)
            if recorded is None or not isinstance(request := recorded.fact, RemovalRequested):
                continue
            if message.metadata.sequence.stream > settled or message.subject in put_back:
                found.leaving.update(_perhaps_about(request, posted))
            elif message.subject in letters:
                found.letters.update(dict.fromkeys(_about(request, posted), letters[message.subject]))
            else:
                found.asked.update(_about(request, posted))
    return found


def _perhaps_about(request: RemovalRequested, posted: PostedImages) -> Iterator[str]:
    """Whose posts an author's are is not asked for: everything of the guild may be about to go."""
    for channel, messages in posted.get(request.guild_id, {}).items():
        for message, images in messages.items():
            if request.scope in ("guild", "author") or request.target in (str(channel), str(message)):
                yield from images


def _about(request: RemovalRequested, posted: PostedImages) -> Iterator[str]:
    """What a request about a message or a channel names; others are made anew each time."""
    if request.scope in ("message", "channel"):
        yield from (image for image in _perhaps_about(request, posted) if not remove.is_kept(request, image))


async def _settled_until(client: Client) -> int:
    """Up to where the remove stage has worked on every request; 0 where there is no such stage yet."""
    consumer = await read_consumer(client, REMOVALS, consumer_name(remove.STAGE.name, RemovalRequested.family))
    if consumer is None:
        return 0
    return consumer.settled if consumer.in_flight else consumer.delivered


async def _requests_put_back(client: Client) -> set[str]:
    entries = await read_last_entries(client, RETRIES, [retry_filter(remove.STAGE.name)])
    return {entry.headers.get("mapseek-subject", "") for entry in entries}


async def _letters(client: Client) -> dict[str, str]:
    """The ids of the stage's dead letters, by the subject of the request that could not be worked on."""
    found = {}
    letters = read_log(client, FAILURES, [failure_filter(remove.STAGE.name, RemovalRequested.family)], bodies=False)
    async with aclosing(letters) as messages:
        async for message in messages:
            found[(message.headers or {}).get("mapseek-subject", "")] = parse_dead_letter(message.subject).id
    return found
