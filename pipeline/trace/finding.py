"""What a person may mean by an id or a link: an image, the images of a message, or a search; and all that the logs say of it."""

import re
from dataclasses import dataclass
from typing import Literal

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
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
from infra.nats.lookup import message_on, subjects_under
from infra.nats.outages import outages
from infra.nats.posts import LogPosts
from pipeline.failures.letters import Letter

LINK = re.compile(r"^<?https?://(?:\w+\.)?discord(?:app)?\.com/channels/(\w+)/\d+/(\d+)/?>?$")

Kind = Literal["image", "search"]

LOGS: dict[Kind, tuple[tuple[str, Family], ...]] = {
    "image": ((IMAGES, "image"),),
    "search": ((SEARCHES, "search"), (JUDGEMENTS, "search"), (ALERTS, "alert")),
}
"""Where there are facts about it. An alert has the id of the search that it began with."""


@dataclass(frozen=True, slots=True)
class Entity:
    """One image or search."""

    kind: Kind
    guild_id: str
    id: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that the logs hold of it: facts, incidents, the dead letters that lie open, and those that are put back and wait."""

    entity: Entity
    facts: list[RawStreamMsg]
    incidents: list[RawStreamMsg]
    letters: list[Letter]
    waiting: list[Letter]


async def entities(client: Client, what: str) -> list[Entity]:
    """What is meant. Raises MapSeekError where the logs know of nothing by that name, Unavailable."""
    js, what = client.jetstream(), what.strip()
    with outages():
        if link := LINK.match(what):
            subjects, _ = await subjects_under(js, IMAGES, [images_of_message_filter(*link.groups())])
            # A post of the first release has no message in its subject; a removal has, whatever it is of.
            posts = await LogPosts(client).of_message(*link.groups())
            image_ids = {post.image_id for post in posts} | {entity_of(subject)[1] for subject in subjects}
            found = {Entity("image", link[1], image_id) for image_id in image_ids}
        elif _is_id(what):
            found = {each for kind in LOGS for each in await _named(js, kind, what)}
        else:
            raise MapSeekError(f"{what!r} is neither an id nor the link of a message on Discord.")
    if not found:
        raise MapSeekError(
            f"The log knows no image, message or search {what}: images go when they are removed, searches in a week."
        )
    return sorted(found, key=lambda entity: (entity.kind, entity.guild_id, entity.id))


async def history(client: Client, entity: Entity) -> Found:
    """All that the logs hold of it. Raises Unavailable."""
    js, found = client.jetstream(), Found(entity, [], [], [], [])
    with outages():
        for stream, family in LOGS[entity.kind]:
            facts = await _messages(js, stream, list(entity_filters(family, entity.guild_id, entity.id)))
            found.facts.extend(facts)
            for fact in facts:
                for letters, copies, subject in (
                    (found.letters, FAILURES, failure_subject),
                    (found.waiting, RETRIES, retry_subject),
                ):
                    filters = [subject("*", family, fact.seq or 0, generation) for generation in (None, "*")]
                    letters.extend(_letter(message) for message in await _messages(js, copies, filters) if _of(message, stream))
        found.incidents.extend(await _messages(js, INCIDENTS, [incident_filter(entity.guild_id, entity.id)]))
    return found


def _of(message: RawStreamMsg, stream: str) -> bool:
    """A letter says which log its entry is in: two logs of one lane have the same sequences."""
    return (message.headers or {}).get("mapseek-stream") == stream


def _is_id(what: str) -> bool:
    try:
        TypeAdapter(Id).validate_python(what)
    except ValidationError:
        return False
    return True


async def _named(js: JetStreamContext, kind: Kind, name: str) -> set[Entity]:
    found = set()
    for stream, family in LOGS[kind]:
        subjects, _ = await subjects_under(js, stream, entity_filters(family, "*", name))
        found |= {Entity(kind, entity_of(subject)[0], name) for subject in subjects}
    return found


async def _messages(js: JetStreamContext, stream: str, filters: list[str]) -> list[RawStreamMsg]:
    subjects, _ = await subjects_under(js, stream, filters)
    messages = [await message_on(js, stream, subject) for subject in subjects]
    return sorted((message for message in messages if message is not None), key=lambda message: message.seq or 0)


def _letter(message: RawStreamMsg) -> Letter:
    return Letter(message.seq or 0, message.subject or "", dict(message.headers or {}), message.data or b"")
