"""How an audit reports removal requests on a real log: pending, handled without effect, or dead-lettered."""

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.events import RemovalRequested
from contracts.subjects import FAILURES, REMOVALS, RETRIES, failure_subject, retry_subject, subject_of
from infra.nats.journal import JetStreamJournal
from pipeline.audit.chain import PostedImages, RequestedRemovals, read_removals
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.facts import MOMENT

POSTED: PostedImages = {"7": {8: {10: ["1", "1-0"], 11: ["2"]}, 9: {12: ["3"]}}, "6": {5: {13: ["4"]}}}


def removal(removal_id: str, scope: str, target: str, guild_id: str = "7", keep: tuple[str, ...] = ()) -> RemovalRequested:
    values = {"removal_id": removal_id, "scope": scope, "target": target, "cause": "deleted", "requested_at": MOMENT, "keep": keep}
    return RemovalRequested(guild_id=guild_id, **values)  # type: ignore[arg-type]


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
