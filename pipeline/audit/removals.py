"""What was asked to be removed, and how far that is: what is gone from Discord may still be on its way out of the log."""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

from contracts.events import RemovalRequested
from contracts.subjects import FAILURES, REMOVALS, RETRIES, durable_name, failure_filter, kind_filter, parse_letter, retry_filter
from infra.nats.connection import Client
from infra.nats.consumers import read_consumer
from infra.nats.reader import past, read_each, readable
from pipeline.audit.posted import Posted
from stages import remove


@dataclass(slots=True)
class Removals:
    """The images that requests for removal are about, by what became of the request.

    `leaving`: the remove stage has yet to work on it; these may be too many. `asked`: it has, so that the same request would not be
    recorded again. `letters`: it gave up, with the id of the dead letter.
    """

    leaving: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    letters: dict[str, str] = field(default_factory=dict)


async def read_removals(client: Client, posted: Posted) -> Removals:
    """What is asked for the removal of posted images. Raises Unavailable."""
    found = Removals()
    settled, put_back = await _settled_until(client), await _requests_put_back(client)
    letters = await _letters(client)
    async with aclosing(past(client, REMOVALS, [kind_filter(RemovalRequested)])) as messages:
        async for message in messages:
            recorded = readable(message)
            if recorded is None or not isinstance(request := recorded.fact, RemovalRequested):
                continue
            if message.metadata.sequence.stream > settled or message.subject in put_back:
                found.leaving.update(_perhaps_about(request, posted))
            elif message.subject in letters:
                found.letters.update(dict.fromkeys(_about(request, posted), letters[message.subject]))
            else:
                found.asked.update(_about(request, posted))
    return found


def _perhaps_about(request: RemovalRequested, posted: Posted) -> Iterator[str]:
    """Whose posts an author's are is not asked for: everything of the guild may be about to go."""
    for channel, messages in posted.get(request.guild_id, {}).items():
        for message, images in messages.items():
            if request.scope in ("guild", "author") or request.target in (str(channel), str(message)):
                yield from images


def _about(request: RemovalRequested, posted: Posted) -> Iterator[str]:
    """What a request about a message or a channel names; others are made anew each time."""
    if request.scope in ("message", "channel"):
        yield from (image for image in _perhaps_about(request, posted) if not remove.keeps(request, image))


async def _settled_until(client: Client) -> int:
    """Up to where the remove stage has worked on every request; 0 where there is no such stage yet."""
    consumer = await read_consumer(client, REMOVALS, durable_name(remove.STAGE.name, RemovalRequested.family))
    if consumer is None:
        return 0
    return consumer.settled if consumer.in_flight else consumer.delivered


async def _requests_put_back(client: Client) -> set[str]:
    entries = await read_each(client, RETRIES, [retry_filter(remove.STAGE.name)])
    return {entry.headers.get("mapseek-subject", "") for entry in entries}


async def _letters(client: Client) -> dict[str, str]:
    """The ids of the stage's dead letters, by the subject of the request that could not be worked on."""
    found = {}
    letters = past(client, FAILURES, [failure_filter(remove.STAGE.name, RemovalRequested.family)], bodies=False)
    async with aclosing(letters) as messages:
        async for message in messages:
            found[(message.headers or {}).get("mapseek-subject", "")] = parse_letter(message.subject).id
    return found
