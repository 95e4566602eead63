"""How an audit reports removal requests on a real log: pending, handled without effect, or dead-lettered."""

from typing import Any

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import RemovalRequested
from contracts.subjects import FAILURES, REMOVALS, RETRIES, failure_subject, retry_subject, subject_of
from infra.nats.journal import JetStreamJournal
from pipeline.audit.chain import PostedImages, RequestedRemovals, read_hidden_images, read_removals
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.facts import MOMENT, posted
from tests.support.posts import hidden, shown

POSTED: PostedImages = {"7": {8: {10: ["1", "1-0"], 11: ["2"]}, 9: {12: ["3"]}}, "6": {5: {13: ["4"]}}}


def removal(removal_id: str, scope: str, target: str, guild_id: str = "7", **more: Any) -> RemovalRequested:
    values = {"removal_id": removal_id, "scope": scope, "target": target, "cause": "deleted", "requested_at": MOMENT, **more}
    return RemovalRequested(guild_id=guild_id, **values)


@pytest.fixture(autouse=True)
async def stages(client: Client) -> None:
    await topology.ensure_topology(client, STAGES)


async def settle(client: Client) -> None:
    subscription = await client.jetstream().pull_subscribe_bind("remove-removal", stream=REMOVALS)
    for message in await subscription.fetch(100, timeout=1):
        await message.ack_sync()
    await subscription.unsubscribe()


@pytest.mark.parametrize(
    ("request_", "pending", "handled"),
    [
        (removal("deleted-11", "message", "11"), {"2"}, {"2"}),
        (removal("edited-10-a", "message", "10"), {"1", "1-0"}, {"1"}),
        (removal("edited-10-b", "message", "10", keep=("1",)), {"1", "1-0"}, set()),
        (removal("image-1", "image", "1", message_id="10"), {"1"}, {"1"}),
        (removal("image-1", "image", "1", message_id="11"), set(), set()),
        (removal("expired-1-0", "image", "1-0", message_id="10", expired=True), {"1-0"}, set()),
        (removal("channel-8", "channel", "8"), {"1", "1-0", "2"}, {"1", "1-0", "2"}),
        (removal("guild-6-1", "guild", "6", "6"), {"4"}, set()),
        (removal("author-5", "author", "5"), {"1", "1-0", "2", "3"}, set()),
    ],
)
async def test_images_count_as_leaving_until_the_request_is_handled(
    client: Client, journal: JetStreamJournal, request_: RemovalRequested, pending: set[str], handled: set[str]
) -> None:
    assert await read_removals(client, POSTED) == RequestedRemovals()
    await journal.record(request_, Origin("m"))
    assert await read_removals(client, POSTED) == RequestedRemovals(pending=pending)
    await settle(client)
    assert await read_removals(client, POSTED) == RequestedRemovals(handled=handled)


async def test_a_dead_letter_explains_a_failed_removal_until_it_is_put_back(client: Client, journal: JetStreamJournal) -> None:
    request = removal("deleted-11", "message", "11")
    await journal.record(request, Origin("m"))
    await settle(client)
    js, headers = client.jetstream(), {"mapseek-subject": subject_of(request)}
    await js.publish(failure_subject("remove", "removal", 1), b"{}", headers=headers, stream=FAILURES)
    assert await read_removals(client, POSTED) == RequestedRemovals(letters={"2": "remove/removal/1"})
    await js.publish(retry_subject("remove", "removal", 1), b"{}", headers=headers, stream=RETRIES)
    assert await read_removals(client, POSTED) == RequestedRemovals(pending={"2"})


async def test_the_images_that_are_hidden_now_are_read_from_the_subjects(client: Client, journal: JetStreamJournal) -> None:
    for fact in (
        hidden(posted("1")),
        *(hidden(posted("2"), 9), shown(posted("2"), 9), hidden(posted("2"), 10)),
        *(shown(posted("3"), 2), hidden(posted("3"))),
        *(hidden(posted("4")), shown(posted("4"))),
        shown(posted("5"), spoiler=True),
        hidden(posted("6", "6")),
    ):
        await journal.record(fact, Origin("m"))
    assert await read_hidden_images(client) == {"1", "2", "6"}
    assert await read_hidden_images(client, "7") == {"1", "2"}
