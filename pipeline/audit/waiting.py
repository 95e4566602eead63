"""The images that a stage has yet to work on: they wait or are at work, were put back by hand, or lie in FAILURES."""

import math
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from contracts.generations import Generation
from contracts.stage import Stage
from contracts.subjects import (
    FAILURES,
    IMAGES,
    RETRIES,
    durable_name,
    entity_of,
    failure_filter,
    parse_letter,
    past_name,
    retry_filter,
)
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer
from infra.nats.reader import past, read_each

LANE = "image"


async def waiting_at(client: Client, stage: Stage[Any], generation: Generation) -> set[str]:
    """The images whose facts a stage's durables have not settled yet, and those that somebody put back for it.

    Only what is behind the last entry up to which a durable settled everything is read, and of that only the subjects. What a
    generation was too late for is a matter of its own durable.
    """
    bound = durable_name(stage.name, LANE, generation.name)
    found = await _letters_put_back(client, stage.name)
    for consumer in (durable_name(stage.name, LANE), bound):
        found |= await _unsettled(client, consumer)
    return found | await _unsettled(client, past_name(bound), until=generation.sequence)


async def _unsettled(client: Client, name: str, until: float = math.inf) -> set[str]:
    consumer = await read_consumer(client, IMAGES, name)
    if consumer is None or not consumer.unsettled:
        return set()
    async with aclosing(past(client, IMAGES, consumer.filters, after=consumer.settled, bodies=False)) as messages:
        return {entity_of(message.subject)[1] async for message in messages if message.metadata.sequence.stream <= until}


async def _letters_put_back(client: Client, stage: str) -> set[str]:
    entries = await read_each(client, RETRIES, [retry_filter(stage)])
    return {_image_of(entry.headers) for entry in entries if parse_letter(entry.subject).family == LANE}


async def dead_letters(client: Client, generation: Generation) -> dict[str, dict[str, str]]:
    """The ids of the dead letters by stage and image; those of other generations are left out.

    An id is what follows in the subject: `embed/image/123`, with the generation where there is one (`embed/image/123/g1`).
    """
    found: dict[str, dict[str, str]] = {}
    filters = [failure_filter("*", LANE), failure_filter("*", LANE, generation.name)]
    async with aclosing(past(client, FAILURES, filters, bodies=False)) as messages:
        async for message in messages:
            letter = parse_letter(message.subject)
            found.setdefault(letter.stage, {})[_image_of(message.headers)] = letter.id
    return found


def _image_of(headers: Mapping[str, str] | None) -> str:
    return entity_of((headers or {}).get("mapseek-subject", ""))[1]
