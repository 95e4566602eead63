"""The open alerts on a real nats-server: they are up to date with the log, and the same after a restart."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import Unavailable
from contracts.events import (
    AlertCancelled,
    AlertDelivered,
    AlertEmbedded,
    AlertSet,
    AlertTriggered,
    Calibration,
    Fact,
    Person,
    RemovalRequested,
)
from contracts.subjects import ALERTS, REMOVALS, kind_filter
from infra.nats import projections as module
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import FollowedAlerts, OpenAlerts, open_alerts
from pipeline.engine import topology
from tests.support.bench_stage import count_messages
from tests.support.facts import ALEX, BLOB, MOMENT, VECTOR
from tests.support.waiting import eventually

Record = Callable[..., Coroutine[Any, Any, None]]
STEVE = Person(id="6", name="Steve")
OTHER, FINE = VECTOR[::-1], Calibration(match_at=0.95, possible_at=0.7)
"""The vector and calibration of an alert in another generation."""


def alert(alert_id: str, person: Person = ALEX, *, guild: str = "7", minute: int = 0) -> AlertSet:
    return AlertSet(
        guild_id=guild,
        alert_id=alert_id,
        person=person,
        channel_id="8",
        locale="de",
        age_restricted=False,
        requested_at=MOMENT + timedelta(minutes=minute),
        pixels=BLOB,
        generation="g1",
        vector=VECTOR,
        calibration=Calibration(match_at=0.9, possible_at=0.8),
    )


def cancel_alert(of: AlertSet) -> AlertCancelled:
    return AlertCancelled(guild_id=of.guild_id, alert_id=of.alert_id, person=of.person, cancelled_at=MOMENT)


def embed_alert(of: AlertSet, generation: str) -> AlertEmbedded:
    return AlertEmbedded(
        guild_id=of.guild_id, alert_id=of.alert_id, person=of.person, generation=generation, vector=OTHER, calibration=FINE
    )


def deliver_alert(of: AlertSet, outcome: Any) -> AlertDelivered:
    return AlertDelivered(guild_id=of.guild_id, alert_id=of.alert_id, person=of.person, image_id="9", outcome=outcome)


def request_forgetting(person: Person, *, minute: int = 0) -> RemovalRequested:
    return RemovalRequested(
        guild_id="7",
        removal_id=f"forget-{person.id}-{minute}",
        scope="author",
        target=person.id,
        cause="forgotten",
        requested_at=MOMENT + timedelta(minutes=minute),
    )


@pytest.fixture(autouse=True)
async def log_streams(client: Client) -> None:
    await topology.ensure_topology(client, [])


@pytest.fixture
def record(journal: JetStreamJournal) -> Record:
    async def record(*facts: Fact) -> None:
        for fact in facts:
            assert await journal.record(fact, Origin("m"))

    return record


@pytest.fixture
async def alerts(client: Client, log_streams: None) -> AsyncIterator[FollowedAlerts]:
    async with open_alerts(client) as alerts:
        yield alerts


async def test_an_alert_is_open_as_soon_as_it_is_recorded_until_it_has_ended(alerts: FollowedAlerts, record: Record) -> None:
    assert await alerts.list_open("7") == []
    kept, called_off, told, mentioned = (alert(str(number), minute=number) for number in range(4))
    for each in (mentioned, kept, told, called_off):
        await record(each)
        assert each in await alerts.list_open("7")
    assert await alerts.list_open("7") == [kept, called_off, told, mentioned]
    for end in (cancel_alert(called_off), deliver_alert(told, "direct"), deliver_alert(mentioned, "mention")):
        await record(end)
        assert end.alert_id not in [each.alert_id for each in await alerts.list_open("7")]
    assert await alerts.list_open("7") == [kept]


async def test_alerts_are_listed_by_guild_and_person(alerts: FollowedAlerts, record: Record) -> None:
    mine, theirs, elsewhere = alert("1"), alert("2", STEVE, minute=1), alert("3", guild="8")
    await record(mine, theirs, elsewhere)
    assert await alerts.list_open("7") == [mine, theirs]
    assert await alerts.list_open("7", "6") == [theirs]
    assert await alerts.list_open("8", "6") == []
    assert await alerts.list_open("8") == [elsewhere]


async def test_an_alert_is_comparable_in_every_generation_with_its_vector(alerts: FollowedAlerts, record: Record) -> None:
    older, newer = alert("1"), alert("2", minute=1)
    await record(newer, older, embed_alert(newer, "g2"))
    assert await alerts.list_comparable("7", "g1") == [older, newer]
    in_second = newer.model_copy(update={"generation": "g2", "vector": OTHER, "calibration": FINE})
    assert await alerts.list_comparable("7", "g2") == [in_second]
    assert await alerts.list_comparable("7", "g3") == await alerts.list_comparable("8", "g1") == []
    assert await alerts.list_open("7") == [older, newer]
    await record(cancel_alert(newer), embed_alert(newer, "g3"))
    assert await alerts.list_comparable("7", "g2") == await alerts.list_comparable("7", "g3") == []
    assert await alerts.list_comparable("7", "g1") == [older]


async def test_two_people_may_set_an_alert_for_the_same_search(alerts: FollowedAlerts, record: Record) -> None:
    mine, theirs = alert("1"), alert("1", STEVE, minute=1)
    await record(mine, theirs, embed_alert(theirs, "g2"))
    assert await alerts.list_open("7") == [mine, theirs]
    assert [each.person for each in await alerts.list_comparable("7", "g2")] == [STEVE]
    await record(cancel_alert(theirs))
    assert await alerts.list_open("7") == [mine]


@pytest.mark.parametrize("outcome", ["withheld", "undeliverable"])
async def test_an_undelivered_notice_does_not_end_an_alert(alerts: FollowedAlerts, record: Record, outcome: str) -> None:
    each = alert("1")
    triggered = AlertTriggered(
        guild_id="7", alert_id="1", person=ALEX, image_id="9", score=0.9, channel_id="8", locale="de", age_restricted=False
    )
    await record(each, triggered, deliver_alert(each, outcome))
    assert await alerts.list_open("7") == [each]


async def test_an_alert_that_is_cancelled_before_it_is_applied_stays_closed(alerts: FollowedAlerts, record: Record) -> None:
    await record(cancel_alert(alert("1")), alert("1"))
    assert await alerts.list_open("7") == []


async def test_alerts_of_a_forgotten_person_close_at_once_and_new_ones_may_be_set(
    client: Client, alerts: FollowedAlerts, record: Record
) -> None:
    before, theirs, after = alert("1", minute=1), alert("2", STEVE, minute=1), alert("3", minute=3)
    await record(before, embed_alert(before, "g2"), theirs, request_forgetting(ALEX, minute=2))
    assert await alerts.list_open("7") == [theirs]
    await LogErasure(client).erase_person("7", ALEX.id)
    assert await alerts.list_open("7") == [theirs]
    assert await alerts.list_comparable("7", "g2") == []
    assert await count_messages(client, ALERTS, kind_filter(AlertEmbedded)) == 0
    await record(after)
    assert await alerts.list_open("7") == [theirs, after]


def test_the_two_streams_may_be_applied_in_any_order() -> None:
    facts = [alert("1", minute=1), request_forgetting(ALEX, minute=2), request_forgetting(ALEX, minute=0), alert("2", minute=3)]
    for order in (facts, facts[::-1], facts[2:] + facts[:2]):
        projection = OpenAlerts()
        for fact in order:
            projection.apply(fact)
        assert [each.alert_id for each in projection.of("7", None)] == ["2"]


async def test_a_new_process_has_the_same_alerts(client: Client, alerts: FollowedAlerts, record: Record) -> None:
    for number in range(300):
        await record(alert(str(number), minute=number))
    await record(cancel_alert(alert("7")))
    known = await alerts.list_open("7")
    assert len(known) == 299
    async with open_alerts(client) as again:
        assert await again.list_open("7") == known


async def test_opening_does_not_wait_for_entries_that_are_purged_during_it(
    client: Client, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALERT_REFRESH_TIMEOUT_S", 0.2)
    await record(alert("1"), request_forgetting(ALEX))
    js = client.jetstream()
    follow, reached = module.follow_entries, FollowedAlerts._wait_for_positions
    asked_for, erased = asyncio.Event(), asyncio.Event()

    async def follow_late(*args: Any, **options: Any) -> AsyncIterator[Any]:
        await erased.wait()
        async for entry in follow(*args, **options):
            yield entry

    async def reached_after(self: FollowedAlerts, wanted: dict[str, int]) -> None:
        asked_for.set()
        await reached(self, wanted)

    monkeypatch.setattr(module, "follow_entries", follow_late)
    monkeypatch.setattr(FollowedAlerts, "_wait_for_positions", reached_after)

    async def erase() -> None:
        await asked_for.wait()
        for stream in (ALERTS, REMOVALS):
            await js.purge_stream(stream)
        erased.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(erase())
        async with open_alerts(client) as alerts:
            assert await alerts.list_open("7") == []


async def test_a_server_outage_is_unavailable_and_following_resumes_after_it(
    client: Client, alerts: FollowedAlerts, record: Record, tmp_path: Path
) -> None:
    await record(alert("1"))
    folder = tmp_path / "nats-server"
    os.kill(int((folder / "server.pid").read_text()), signal.SIGKILL)

    async def unavailable() -> bool:
        try:
            await alerts.list_open("7")
        except Unavailable:
            return True
        return False

    async def known() -> bool:
        try:
            return len(await alerts.list_open("7")) == 2
        except Unavailable:
            return False

    async def recorded() -> bool:
        try:
            await record(alert("2", minute=1))
        except Unavailable:
            return False
        return True

    await eventually(unavailable)
    await eventually(recorded)
    await eventually(known)


async def test_a_failed_projection_raises_instead_of_returning_old_alerts(
    client: Client, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    async with open_alerts(client) as alerts:
        monkeypatch.setattr(alerts._alerts, "apply", fail)
        await record(alert("1"))
        with pytest.raises(RuntimeError, match="do not follow the log any more"):
            await alerts.list_open("7")
