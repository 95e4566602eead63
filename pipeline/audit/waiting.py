"""The images that a stage has yet to work on: they wait or are at work, were put back by hand, or lie in FAILURES."""

import math
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError

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
from infra.nats.lookup import message_on, subjects_under
from infra.nats.tail import past

LANE = "image"


async def waiting_at(client: Client, stage: Stage[Any], generation: Generation) -> set[str]:
    """The images whose facts a stage's durables have not settled yet, and those that somebody put back for it.

    Only what is behind the last entry up to which a durable settled everything is read, and of that only the subjects. What a
    generation was too late for is a matter of its own durable.
    """
    bound = durable_name(stage.name, LANE, generation.name)
    found = await _put_back(client, stage.name)
    for consumer in (durable_name(stage.name, LANE), bound):
        found |= await _unsettled(client, consumer)
    return found | await _unsettled(client, past_name(bound), until=generation.sequence)


async def _unsettled(client: Client, consumer: str, until: float = math.inf) -> set[str]:
    try:
        info = await client.jetstream().consumer_info(IMAGES, consumer)
    except NotFoundError:
        return set()
    if not (info.num_pending or info.num_ack_pending):
        return set()
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    filters = info.config.filter_subjects or [info.config.filter_subject or ">"]
    async with aclosing(past(client, IMAGES, filters, after=floor, bodies=False)) as messages:
        return {entity_of(message.subject)[1] async for message in messages if message.metadata.sequence.stream <= until}


async def _put_back(client: Client, stage: str) -> set[str]:
    js = client.jetstream()
    subjects, _ = await subjects_under(js, RETRIES, [retry_filter(stage)])
    messages = [await message_on(js, RETRIES, subject) for subject in subjects if parse_letter(subject).family == LANE]
    return {_image_of(message.headers) for message in messages if message is not None}


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
