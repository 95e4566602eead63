"""Find the images or searches that an id or a link names, and read everything that the log has of them."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from contracts.errors import MapSeekError
from contracts.events.base import Family, Id
from contracts.subjects import (
    ALERTS,
    FAILURES,
    IMAGES,
    INCIDENTS,
    JUDGEMENTS,
    RETRIES,
    SEARCHES,
    entity_filters,
    entity_of,
    failure_subject,
    images_of_message_filter,
    incident_filter,
    retry_subject,
)
from infra.discord.ask.parse import parse_message_link
from infra.nats.connection import Client
from infra.nats.reader import RawEntry, list_subjects, read_last_entries
from pipeline.failures.letters import Letter, letter_from_entry

EntityKind = Literal["image", "search"]

FACT_STREAMS: dict[EntityKind, tuple[tuple[str, Family], ...]] = {
    "image": ((IMAGES, "image"),),
    "search": ((SEARCHES, "search"), (JUDGEMENTS, "search"), (ALERTS, "alert")),
}
"""The streams and lanes with facts about an entity. An alert has the id of the search that it was made from."""


@dataclass(frozen=True, slots=True)
class Entity:
    """An image or a search."""

    kind: EntityKind
    guild_id: str
    id: str


@dataclass(frozen=True, slots=True)
class EntityHistory:
    """Everything that the log has of an entity: facts, incidents, open dead letters, and dead letters that wait for their retry."""

    entity: Entity
    facts: list[RawEntry]
    incidents: list[RawEntry]
    letters: list[Letter]
    waiting: list[Letter]


async def find_entities(client: Client, what: str) -> list[Entity]:
    """Return the images and searches that an id or a link names. Raises MapSeekError if there are none, and Unavailable."""
    what = what.strip()
    if link := parse_message_link(what):
        subjects = await list_subjects(client, IMAGES, [images_of_message_filter(str(link.guild_id), str(link.message_id))])
        found = {Entity("image", *entity_of(subject)) for subject in subjects}
    elif _is_id(what):
        found = {each for kind in FACT_STREAMS for each in await _find_by_id(client, kind, what)}
    else:
        raise MapSeekError(f"{what!r} is neither an id nor the link of a message on Discord: give one of these.")
    if not found:
        raise MapSeekError(
            f"The log has no image, message or search {what}: check the id. Removed images and searches older than a week are gone."
        )
    return sorted(found, key=lambda entity: (entity.kind, entity.guild_id, entity.id))


async def read_history(client: Client, entity: Entity) -> EntityHistory:
    """Read everything that the log has of an entity. Raises Unavailable."""
    found = EntityHistory(entity, [], [], [], [])
    for stream, family in FACT_STREAMS[entity.kind]:
        facts = await read_last_entries(client, stream, entity_filters(family, entity.guild_id, entity.id))
        found.facts.extend(facts)
        for fact in facts:
            for letters, copies, subject in (
                (found.letters, FAILURES, failure_subject),
                (found.waiting, RETRIES, retry_subject),
            ):
                filters = [subject("*", family, fact.sequence, generation) for generation in (None, "*")]
                letters.extend(
                    letter_from_entry(entry)
                    for entry in await read_last_entries(client, copies, filters)
                    if _is_of_stream(entry, stream)
                )
    found.incidents.extend(await read_last_entries(client, INCIDENTS, [incident_filter(entity.guild_id, entity.id)]))
    return found


def _is_of_stream(entry: RawEntry, stream: str) -> bool:
    """Return whether a dead letter's entry is in this stream. Two streams of one lane use the same sequence numbers."""
    return entry.headers.get("mapseek-stream") == stream


def _is_id(what: str) -> bool:
    try:
        TypeAdapter(Id).validate_python(what)
    except ValidationError:
        return False
    return True


async def _find_by_id(client: Client, kind: EntityKind, name: str) -> set[Entity]:
    found = set()
    for stream, family in FACT_STREAMS[kind]:
        subjects = await list_subjects(client, stream, entity_filters(family, "*", name))
        found |= {Entity(kind, entity_of(subject)[0], name) for subject in subjects}
    return found
