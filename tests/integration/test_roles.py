"""The permissions of each role, on the real server with the configuration that MapSeek prints: what it must do, and must not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.envelope import Origin
from contracts.errors import RejectCode
from contracts.events import FACTS, AttemptFailed, MessageBuried, MessageDiscarded
from contracts.generations import Generations
from contracts.subjects import (
    IMAGES,
    LANES,
    STATE_BUCKET,
    STREAM_SUBJECTS,
    consumer_name,
    failure_subject,
    retry_subject,
    subject_of,
)
from infra.nats.connection import Client, connect, disconnect
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.state import open_state
from infra.tasks import cancel_tasks
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.consumers import plan_consumers, plan_retry_consumers
from pipeline.engine.dead_letters import Delivery, WorkerIdentity, record_dead_letter, record_incident
from pipeline.engine.registry import STAGES
from pipeline.engine.roles import GATEWAY, OPERATOR, list_roles
from pipeline.engine.runner import Rejectable
from pipeline.engine.unreadable import UnreadableLetters
from pipeline.failures.letters import find_letter, list_stages_without_worker, retry_letter
from tests.support.facts import example_facts, founding_facts
from tests.support.log_servers import RoleServer, run_role_server
from tests.support.programs import run_to_end
from tests.support.waiting import eventually

ROLES = {role.name: role for role in list_roles()}
RESTRICTED = [name for name in ROLES if name != OPERATOR]
each_role = pytest.mark.parametrize("name", RESTRICTED)

FIXED = [*plan_consumers(STAGES, Generations()), *plan_retry_consumers(STAGES)]
"""The consumers whose names are known beforehand."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RoleServer]:
    """A log server with all streams and consumers, the first generation's included."""
    async with run_role_server(tmp_path) as server:
        operator = await connect(server.get_address(OPERATOR), "operator")
        await topology.update_topology(operator, STAGES)
        started, activated = founding_facts()
        generations = Generations().with_fact(started, 1).with_fact(activated, 2)
        await topology.ensure_generation_consumers(operator, STAGES, generations, "g1")
        await disconnect(operator)
        yield server


@asynccontextmanager
async def log_in(server: RoleServer, name: str) -> AsyncIterator[Client]:
    client = await connect(server.get_address(name), name)
    yield client
    await disconnect(client)


class Denials:
    """Tries what a user might do, and tells what the server refused of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.refused: list[str] = []
        client._error_cb = self._note  # type: ignore[assignment]

    async def _note(self, error: Exception) -> None:
        self.refused.append(str(error))

    async def publish(self, *subjects: str, body: bytes = b"") -> list[str]:
        """Return those of the subjects that may be published."""
        return await self._try([(subject, self.client.publish(subject, body)) for subject in subjects], "publish")

    async def subscribe(self, *subjects: str) -> list[str]:
        """Return those of the subjects that may be subscribed."""
        return await self._try([(subject, self.client.subscribe(subject)) for subject in subjects], "subscription")

    async def _try(self, attempts: list[tuple[str, object]], operation: str) -> list[str]:
        self.refused.clear()
        for _, attempt in attempts:
            await attempt  # type: ignore[misc]
        for _ in range(2):
            await self.client.flush()
        refused = " ".join(self.refused)
        return [subject for subject, _ in attempts if f'violation for {operation} to "{subject.lower()}"' not in refused]


@each_role
async def test_a_role_hears_its_own_answers_and_nothing_else(server: RoleServer, name: str) -> None:
    others = [f"_INBOX_{other}.>" for other in ROLES if other != name]
    facts = ["mapseek.>", "mapseek.image.>", "mapseek.search.>", "mapseek.control.>"]
    async with log_in(server, name) as client:
        tried = (">", "*", "*.>", "_INBOX.>", "_INBOX.x", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$KV.>", "$SYS.>", *others, *facts)
        assert await Denials(client).subscribe(*tried) == []
        own = f"_INBOX_{name}.x"
        assert await Denials(client).subscribe(own) == [own]


@each_role
async def test_a_role_records_its_own_facts_and_no_other(server: RoleServer, name: str) -> None:
    role = ROLES[name]
    emitted = {kind.type_name() for stage in role.stages for kind in stage.emits}
    rejected = {f"{family}.rejected" for stage in role.stages for family in stage.families if family in ("image", "search")}
    incidents = {"incident.failed", "incident.buried", "incident.discarded"} if role.stages else set()
    started = {"generation.started", "generation.activated", "generation.dropped"} if name == "embed" else set()
    by_members = {
        "image.posted",
        "image.hidden",
        "image.shown",
        "search.requested",
        "search.described",
        "search.browsed",
        "search.voted",
        "alert.requested",
        "alert.cancelled",
        "removal.requested",
    }
    expected = by_members if name == GATEWAY else emitted | rejected | started
    subjects = {kind.type_name(): f"mapseek.{kind.family}.{kind.name}.v{kind.version}.7.9" for kind in FACTS.values()}
    async with log_in(server, name) as client:
        allowed = await Denials(client).publish(*(subjects[kind] for kind in subjects if kind not in incidents))
    assert {kind for kind, subject in subjects.items() if subject in allowed} == expected


@each_role
async def test_a_role_buries_and_retries_its_own_messages_only(server: RoleServer, name: str) -> None:
    own = {stage.name for stage in ROLES[name].stages}
    async with log_in(server, name) as client:
        denials = Denials(client)
        for build in (failure_subject, retry_subject):
            subjects = {stage.name: build(stage.name, "image", 5) for stage in STAGES}
            assert {stage for stage, subject in subjects.items() if subject in await denials.publish(subject)} == own
        subjects = {stage.name: f"$JS.API.DIRECT.GET.FAILURES.{failure_subject(stage.name, 'search', 5)}" for stage in STAGES}
        assert {stage for stage, subject in subjects.items() if subject in await denials.publish(subject)} == own
        if name not in ("remove", "erase"):  # they erase the dead letters of all stages
            whole = ("STREAM.MSG.GET.FAILURES", "DIRECT.GET.FAILURES", "CONSUMER.CREATE.FAILURES.x")
            assert await denials.publish(*(f"$JS.API.{call}" for call in whole)) == []
        requeued = "mapseek.incident.requeued.v1.7.9.download-image.5.0.1"
        assert await denials.publish(requeued) == []


@pytest.mark.parametrize("name", [name for name in RESTRICTED if not any(stage.by_generation for stage in ROLES[name].stages)])
async def test_a_stage_without_generations_reports_incidents_of_its_own_consumers_only(server: RoleServer, name: str) -> None:
    """The consumers of generations cannot be named beforehand."""
    stages = ROLES[name].stages
    own = {durable.name for durable in plan_consumers(stages, Generations())}
    async with log_in(server, name) as client:
        for kind in (AttemptFailed, MessageBuried):
            subjects = {each.name: f"mapseek.incident.{kind.name}.v1.7.9.{each.name}.5.0.1" for each in FIXED}
            allowed = await Denials(client).publish(*subjects.values())
            assert {consumer for consumer, subject in subjects.items() if subject in allowed} == own


@each_role
async def test_a_role_fetches_from_and_settles_its_own_consumers_only(server: RoleServer, name: str) -> None:
    stages = ROLES[name].stages
    own = {(each.stream, each.name) for each in (*plan_consumers(stages, Generations()), *plan_retry_consumers(stages))}
    async with log_in(server, name) as client:
        denials = Denials(client)
        for subject in ("$JS.API.CONSUMER.MSG.NEXT.{}.{}", "$JS.ACK.{}.{}.1.1.1.1.1"):
            subjects = {(each.stream, each.name): subject.format(each.stream, each.name) for each in FIXED}
            allowed = await denials.publish(*subjects.values())
            assert {key for key, subject in subjects.items() if subject in allowed} == own


@each_role
async def test_only_stages_by_generation_settle_the_consumers_of_generations(server: RoleServer, name: str) -> None:
    streams = {"image": IMAGES, "alert": "ALERTS"}
    own = {streams[kind.family] for stage in ROLES[name].stages for kind in stage.by_generation}
    async with log_in(server, name) as client:
        subjects = {stream: f"$JS.ACK.{stream}.embed-{lane}-g1.1.1.1.1.1" for lane, stream in streams.items()}
        allowed = await Denials(client).publish(*subjects.values())
        assert {stream for stream, subject in subjects.items() if subject in allowed} == own


@each_role
async def test_a_role_changes_no_stream_and_no_consumer_of_others(server: RoleServer, name: str) -> None:
    api = "$JS.API."
    everywhere = [
        f"{api}{call}.{stream}"
        for call in ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.SNAPSHOT", "STREAM.RESTORE")
        for stream in (*STREAM_SUBJECTS, f"KV_{STATE_BUCKET}", "NEW")
    ]
    consumers = [
        f"{api}CONSUMER.{call}.{each.stream}.{each.name}"
        for call in ("CREATE", "DURABLE.CREATE", "DELETE", "PAUSE", "RESET")
        for each in FIXED
    ]
    generations = [f"{api}CONSUMER.{call}.IMAGES.embed-image-g1" for call in ("DURABLE.CREATE", "DELETE", "PAUSE", "RESET")]
    ephemeral = [f"{api}CONSUMER.CREATE.{stream}" for stream in STREAM_SUBJECTS]
    account = [
        f"{api}INFO",
        f"{api}STREAM.LIST",
        f"{api}STREAM.NAMES",
        f"{api}ACCOUNT.PURGE.x",
        f"{api}META.LEADER.STEPDOWN",
        api + ">",
    ]
    async with log_in(server, name) as client:
        tried = (*everywhere, *consumers, *generations, *ephemeral, *account)
        assert await Denials(client).publish(*tried) == []


@each_role
async def test_only_who_follows_all_images_or_starts_generations_creates_consumers(server: RoleServer, name: str) -> None:
    """Whoever may create a consumer may have it deliver to any subject, and change a consumer of that stream that exists."""
    creators = {"match": {"IMAGES"}, "embed": {"IMAGES", "ALERTS"}}
    async with log_in(server, name) as client:
        subjects = {stream: f"$JS.API.CONSUMER.CREATE.{stream}.reader-1" for stream in STREAM_SUBJECTS}
        allowed = await Denials(client).publish(*subjects.values())
        assert {stream for stream, subject in subjects.items() if subject in allowed} == creators.get(name, set())


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
async def test_a_stage_records_and_buries_with_the_user_of_its_role(server: RoleServer, stage: str) -> None:
    [role] = [role for role in ROLES.values() if stage in [each.name for each in role.stages]]
    [described] = [each for each in role.stages if each.name == stage]
    examples = {type(fact): fact for fact in example_facts()}
    async with log_in(server, role.name) as client:
        journal = JetStreamJournal(client, source="test", now=utc_now)
        for kind in described.consumes:
            fact = examples[kind]
            generation = "g1" if kind in described.by_generation else None
            worker = WorkerIdentity(stage, kind.family, consumer_name(stage, kind.family, generation), generation)
            delivery = Delivery(LANES[kind.family], 1, 5, subject_of(fact), {}, b"{}")
            await record_dead_letter(journal, delivery, worker, cause="exhausted", reason="a test", error=None)
            await record_incident(AttemptFailed, delivery, worker, journal, reason="a test", delay_s=1)
            await record_incident(MessageBuried, delivery, worker, journal, cause="exhausted", reason="a test")
            await record_incident(MessageDiscarded, delivery, worker, journal)
            if isinstance(fact, Rejectable):
                await journal.record(fact.to_rejection(stage, RejectCode.INTERNAL, "a test"), Origin("test"))
        for kind in described.emits:
            await journal.record(examples[kind], Origin("test"))
    assert server.list_violations() == []


async def test_commands_run_as_the_operator(server: RoleServer, tmp_path: Path) -> None:
    environment = {
        "MAPSEEK_DATA_DIR": str(tmp_path / "data"),
        "NATS_URL": server.url,
        "MAPSEEK_NATS_USER": OPERATOR,
        "MAPSEEK_NATS_PASSWORD": server.passwords[OPERATOR],
    }
    for command in (["topology", "apply"], ["status"], ["export", str(tmp_path / "export")]):
        done = await run_to_end(*command, environment=environment)
        assert done.code == 0, done.out + done.err
    assert server.list_violations() == []


async def test_a_process_of_a_role_says_what_is_missing_and_creates_nothing(tmp_path: Path) -> None:
    async with run_role_server(tmp_path) as server:
        environment = {
            "MAPSEEK_DATA_DIR": str(tmp_path / "data"),
            "NATS_URL": server.url,
            "MAPSEEK_NATS_USER": "judge",
            "MAPSEEK_NATS_PASSWORD": server.passwords["judge"],
        }
        done = await run_to_end("run", "judge", environment=environment)
        assert (done.code, done.err.splitlines()[-1]) == (
            1,
            "mapseek: The log on the server is not as this version needs it (stream IMAGES is missing): run `mapseek topology "
            "apply` as its operator.",
        )
        assert server.list_violations() == []


@each_role
async def test_only_the_stages_that_forget_erase(server: RoleServer, name: str) -> None:
    erased = {
        "remove": {"JUDGEMENTS", "ALERTS", "INCIDENTS", "FAILURES", "RETRIES"},
        "erase": {"IMAGES", "INCIDENTS", "FAILURES", "RETRIES"},
    }
    async with log_in(server, name) as client:
        for call in ("STREAM.PURGE", "STREAM.MSG.DELETE"):
            subjects = {stream: f"$JS.API.{call}.{stream}" for stream in (*STREAM_SUBJECTS, f"KV_{STATE_BUCKET}")}
            allowed = await Denials(client).publish(*subjects.values(), body=b'{"filter":"mapseek.none","seq":99999}')
            assert {stream for stream, subject in subjects.items() if subject in allowed} == erased.get(name, set())


@each_role
async def test_who_needs_no_queries_cannot_read_them(server: RoleServer, name: str) -> None:
    """A query holds the token of an interaction, with which anybody could answer it."""
    readers = {GATEWAY, "match", "reply", "judge"}
    subjects = ("$JS.API.STREAM.MSG.GET.SEARCHES", "$JS.API.DIRECT.GET.SEARCHES", "$JS.API.CONSUMER.CREATE.SEARCHES.reader-1")
    async with log_in(server, name) as client:
        allowed = await Denials(client).publish(*subjects)
    assert bool(allowed) == (name in readers)


@each_role
async def test_a_role_writes_only_its_own_documents_beside_the_log(server: RoleServer, name: str) -> None:
    keys = ("settings.7", "mark.7.1", "backfill.7.1", "forgotten.7.1", "owner", "requests.all", "import", "anything")
    expected = {GATEWAY: set(keys) - {"import", "anything"}} | {each: {"requests.all"} for each in ("download", "reply", "notify")}
    async with log_in(server, name) as client:
        allowed = await Denials(client).publish(*(f"$KV.{STATE_BUCKET}.{key}" for key in keys))
        assert {key for key in keys if f"$KV.{STATE_BUCKET}.{key}" in allowed} == expected.get(name, set())
        assert await (await open_state(client)).get("owner") is None or name == GATEWAY


@each_role
async def test_a_role_starts_on_a_log_that_is_complete_and_changes_nothing(server: RoleServer, name: str) -> None:
    stages = ROLES[name].stages
    async with log_in(server, name) as client:
        await topology.check_topology(client, stages)
        started, activated = founding_facts()
        generations = Generations().with_fact(started, 1).with_fact(activated, 2)
        await asyncio.wait_for(topology.wait_for_generation_consumers(client, stages, generations, "g1"), 10)
    assert server.list_violations() == []


async def test_the_gateway_keeps_messages_that_it_cannot_read_and_reads_them_again(server: RoleServer) -> None:
    read: list[str] = []

    async def read_again(*ids: str) -> None:
        read.extend(ids)

    async with log_in(server, GATEWAY) as gateway, log_in(server, OPERATOR) as operator:
        journal = JetStreamJournal(gateway, source="test", now=utc_now)
        unreadable = UnreadableLetters(gateway, journal, lambda: None)
        assert await unreadable.keep("7", "8", "1400000000000000001", {}, "no author")
        letter = await find_letter(operator, "record/message/1400000000000000001")
        await retry_letter(letter, JetStreamJournal(operator, source="test", now=utc_now), LogErasure(operator))
        assert await unreadable.has("7", "1400000000000000001")
        following = asyncio.create_task(unreadable.follow_retries(read_again))
        await eventually(lambda: read == ["7", "8", "1400000000000000001"])
        assert await list_stages_without_worker(operator, ["record"]) == []
        await cancel_tasks(following)
    assert server.list_violations() == []
