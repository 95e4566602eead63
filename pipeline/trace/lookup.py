"""What a person may mean by an id or a link: an image, the images of a message, or a search; and all that the logs say of it."""

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
"""Where there are facts about it. An alert has the id of the search that it began with."""


@dataclass(frozen=True, slots=True)
class Entity:
    """One image or search."""

    kind: EntityKind
    guild_id: str
    id: str


@dataclass(frozen=True, slots=True)
class EntityHistory:
    """All that the logs hold of it: facts, incidents, the dead letters that lie open, and those that are put back and wait."""

    entity: Entity
    facts: list[RawEntry]
    incidents: list[RawEntry]
    letters: list[Letter]
    waiting: list[Letter]


async def find_entities(client: Client, what: str) -> list[Entity]:
    """What is meant. Raises MapSeekError where the logs know of nothing by that name, Unavailable."""
    what = what.strip()
    if link := parse_message_link(what):
        subjects = await list_subjects(client, IMAGES, [images_of_message_filter(str(link.guild_id), str(link.message_id))])
        found = {Entity("image", *entity_of(subject)) for subject in subjects}
    elif _is_id(what):
        found = {each for kind in FACT_STREAMS for each in await _named(client, kind, what)}
    else:
        raise MapSeekError(f"{what!r} is neither an id nor the link of a message on Discord.")
    if not found:
        raise MapSeekError(
            f"The log knows no image, message or search {what}: images go when they are removed, searches in a week."
        )
    return sorted(found, key=lambda entity: (entity.kind, entity.guild_id, entity.id))


async def read_history(client: Client, entity: Entity) -> EntityHistory:
    """All that the logs hold of it. Raises Unavailable."""
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
                    letter_from_entry(entry) for entry in await read_last_entries(client, copies, filters) if _of(entry, stream)
                )
    found.incidents.extend(await read_last_entries(client, INCIDENTS, [incident_filter(entity.guild_id, entity.id)]))
    return found


def _of(entry: RawEntry, stream: str) -> bool:
    """A letter says which log its entry is in: two logs of one lane have the same sequences."""
    return entry.headers.get("mapseek-stream") == stream


def _is_id(what: str) -> bool:
    try:
        TypeAdapter(Id).validate_python(what)
    except ValidationError:
        return False
    return True


async def _named(client: Client, kind: EntityKind, name: str) -> set[Entity]:
    found = set()
    for stream, family in FACT_STREAMS[kind]:
        subjects = await list_subjects(client, stream, entity_filters(family, "*", name))
        found |= {Entity(kind, entity_of(subject)[0], name) for subject in subjects}
    return found
