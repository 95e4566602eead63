"""The roles of processes on a log server with users, and the configuration of that server.

A role is what one service of docker-compose.yml does: the gateway, some stages, or the operator, who runs every command. What a
role may publish and subscribe follows from the topology and from what its stages consume and emit. Two roles never share an inbox,
so nobody sees what the server answers to another one (docs/adr/0015).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.events import (
    FACTS,
    AttemptFailed,
    Fact,
    GenerationFact,
    ImageRejected,
    Incident,
    MessageBuried,
    MessageDiscarded,
    SearchAnswered,
    SearchRejected,
)
from contracts.generations import Generations
from contracts.stage import Stage
from contracts.subjects import (
    ALERTS,
    BACKFILLS,
    FAILURES,
    FORGOTTEN,
    IMAGES,
    INCIDENTS,
    JUDGEMENTS,
    LANES,
    MARKS,
    MESSAGE,
    REBUILD_INDEX,
    RECORD,
    REMOVALS,
    REQUESTS,
    RETRIES,
    SEARCHES,
    SETTINGS,
    STATE_BUCKET,
    STREAM_SUBJECTS,
    failure_filter,
    kind_filter,
    lane_filter,
    owner_key,
    retry_filter,
)
from infra.nats.projections import ALERT_SUBJECTS
from pipeline.engine.consumers import StageConsumer, plan_consumers, plan_message_retries, plan_retry_consumers
from pipeline.engine.registry import STAGES, find_stages

OPERATOR = "operator"
"""The role of whoever runs the commands. It alone creates, changes and deletes streams and consumers."""

GATEWAY = "gateway"

_SHARED_PROCESSES = {"match": ("match", "link", "alert")}
"""Stages that run in one process, by the role of the process: they compare pictures with one index."""

STATE_STREAM = f"KV_{STATE_BUCKET}"

_QUERY_PICTURES = (JUDGEMENTS, ALERTS)
"""What is read before old query pictures are deleted, by every process that writes into their blob store."""

_LOOKED_UP: Mapping[str, tuple[str, ...]] = {
    GATEWAY: (IMAGES, SEARCHES, ALERTS, REMOVALS),
    "fingerprint": (IMAGES,),
    "link": (IMAGES,),
    "match": (IMAGES, SEARCHES),
    "alert": (IMAGES, SEARCHES, ALERTS, REMOVALS),
    "reply": (IMAGES, SEARCHES),
    "judge": (SEARCHES,),
    "notify": (IMAGES, ALERTS, REMOVALS),
    "remove": (IMAGES, JUDGEMENTS, ALERTS, INCIDENTS, FAILURES, RETRIES),
    "erase": (IMAGES, INCIDENTS, FAILURES, RETRIES),
}
"""The streams from which a process gets single entries, besides its own dead letters."""

_READ: Mapping[str, tuple[str, ...]] = {
    GATEWAY: (SEARCHES, ALERTS, REMOVALS),
    "download": _QUERY_PICTURES,
    "preprocess": _QUERY_PICTURES,
    "fingerprint": _QUERY_PICTURES,
    "alert": (ALERTS, REMOVALS),
    "notify": (ALERTS, REMOVALS),
}
"""The streams that a process reads or follows, besides the generations, which all processes follow."""

_HEARD: Mapping[str, tuple[str, ...]] = {
    GATEWAY: (kind_filter(SearchAnswered), *ALERT_SUBJECTS.values()),
    "alert": tuple(ALERT_SUBJECTS.values()),
    "notify": tuple(ALERT_SUBJECTS.values()),
}
"""What a process hears as it is published, to read it from the log at once, besides the generations."""

_ERASED: Mapping[str, tuple[str, ...]] = {
    "remove": (JUDGEMENTS, ALERTS, INCIDENTS, FAILURES, RETRIES),
    "erase": (IMAGES, INCIDENTS, FAILURES, RETRIES),
}
"""The streams from which a stage erases entries."""

_STATE_WRITTEN: Mapping[str, tuple[str, ...]] = {
    GATEWAY: (f"{SETTINGS}.>", f"{MARKS}.>", f"{BACKFILLS}.>", f"{FORGOTTEN}.>", f"{REQUESTS}.>", owner_key()),
    "download": (f"{REQUESTS}.>",),
    "reply": (f"{REQUESTS}.>",),
    "notify": (f"{REQUESTS}.>",),
}
"""The keys of documents beside the log that a process writes."""


@dataclass(frozen=True, slots=True)
class LogRole:
    """A role: its stages, and the subjects that it may publish, may not publish although they match, and may subscribe."""

    name: str
    stages: tuple[Stage[Any], ...]
    publish: tuple[str, ...]
    deny_publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    @property
    def password_variable(self) -> str:
        """The environment variable of the server with the password of the role's user."""
        return f"NATS_{self.name.upper()}_PASSWORD"


def list_roles() -> list[LogRole]:
    """Return every role: the operator, the gateway, and one for each process that runs stages."""
    shared = {stage for names in _SHARED_PROCESSES.values() for stage in names}
    processes = {stage.name: (stage.name,) for stage in STAGES if stage.name not in shared} | _SHARED_PROCESSES
    working = [_build_stage_role(name, tuple(find_stages(list(stages)))) for name, stages in processes.items()]
    return [_build_operator(), _build_gateway(), *working]


def is_restricted(user: str | None) -> bool:
    """Return whether a user has a role that may not change the topology."""
    return user in {role.name for role in list_roles()} - {OPERATOR}


def build_server_config() -> str:
    """Return the configuration of a NATS server with a user for each role. The passwords come from its environment."""
    users = ",\n".join(_render_user(role) for role in list_roles())
    return _SERVER_CONFIG.replace("USERS", users)


def _build_operator() -> LogRole:
    everything = ("mapseek.>", f"$KV.{STATE_BUCKET}.>", "$JS.API.>", "$JS.ACK.>", f"{_inbox(OPERATOR)}.>")
    return LogRole(OPERATOR, (), everything, (), (f"{_inbox(OPERATOR)}.>", "mapseek.>"))


def _build_gateway() -> LogRole:
    """The gateway records what no stage does, keeps messages that it cannot read, and shows managers the backlog of every stage."""
    publish = [
        *(kind_filter(kind) for kind in _list_gateway_facts()),
        *(f"$JS.API.CONSUMER.INFO.{stream}.*" for stream in STREAM_SUBJECTS),
        *_allow_consumer(RETRIES, plan_message_retries().name),
        *(prefix + failure_filter(RECORD, MESSAGE, "*") for prefix in ("", f"$JS.API.DIRECT.GET.{FAILURES}.")),
        f"$JS.API.DIRECT.GET.{RETRIES}.{retry_filter(RECORD)}",
        *_allow_reading(GATEWAY, ()),
    ]
    return _finish(GATEWAY, (), publish)


def _build_stage_role(name: str, stages: tuple[Stage[Any], ...]) -> LogRole:
    publish = [
        *(kind_filter(kind) for stage in stages for kind in (*stage.emits, *_list_rejections(stage))),
        *(prefix + _match_dead_letters(stage) for stage in stages for prefix in ("", f"$JS.API.DIRECT.GET.{FAILURES}.")),
        *(retry_filter(stage.name) for stage in stages),
        *(subject for stage in stages for subject in _allow_incidents(stage)),
        *(subject for durable in _list_fixed(stages) for subject in _allow_consumer(durable.stream, durable.name)),
        *(subject for stream in _list_generation_streams(stages) for subject in _allow_consumer(stream, "*")),
        *_allow_reading(name, stages),
    ]
    subscribe = []
    if any(stage.name == "embed" for stage in stages):
        # It starts the first generation, and creates the consumers of every generation.
        publish += [f"mapseek.{GenerationFact.family}.>"]
        for stream in _list_generation_streams(STAGES):
            publish += [f"$JS.API.CONSUMER.CREATE.{stream}.*", f"$JS.API.CONSUMER.INFO.{stream}.*"]
    if any(stage.name in _SHARED_PROCESSES["match"] for stage in stages):
        publish += [f"{_inbox(OPERATOR)}.>"]  # reports on the rebuild of its indexes
        # The indexes follow the log with consumers of their own: it is long, and they are behind it after each start.
        publish += [f"$JS.API.CONSUMER.{call}.{IMAGES}.*" for call in ("CREATE", "MSG.NEXT", "INFO")]
        subscribe += [REBUILD_INDEX]
    return _finish(name, stages, publish, subscribe)


def _finish(name: str, stages: tuple[Stage[Any], ...], publish: Iterable[str], subscribe: Iterable[str] = ()) -> LogRole:
    """Build the role. Where wildcards match the consumers of other stages, those that can be named are denied."""
    allowed = tuple(dict.fromkeys(publish))
    own = {(durable.stream, durable.name) for durable in _list_fixed(stages)}
    denied = [
        f"{prefix}{durable.stream}.{durable.name}{rest}"
        for durable in _list_fixed(STAGES)
        for prefix, rest, is_own in (
            ("$JS.API.CONSUMER.MSG.NEXT.", "", (durable.stream, durable.name) in own),
            ("$JS.ACK.", ".>", (durable.stream, durable.name) in own),
            ("$JS.API.CONSUMER.CREATE.", "", False),
        )
        if f"{prefix}{durable.stream}.*{rest}" in allowed and not is_own
    ]
    names = (name, *(stage.name for stage in stages))
    heard = (lane_filter(GenerationFact.family), *(subject for each in names for subject in _HEARD.get(each, ())))
    return LogRole(name, stages, allowed, tuple(denied), tuple(dict.fromkeys((f"{_inbox(name)}.>", *heard, *subscribe))))


def _inbox(name: str) -> str:
    return f"_INBOX_{name}"


def _list_gateway_facts() -> list[type[Fact]]:
    """List the facts that neither a stage nor an operator records."""
    recorded = {kind for stage in STAGES for kind in (*stage.emits, *_list_rejections(stage))}
    return [kind for kind in FACTS.values() if kind not in recorded and not issubclass(kind, GenerationFact | Incident)]


def _list_rejections(stage: Stage[Any]) -> tuple[type[Fact], ...]:
    return tuple(kind for kind in (ImageRejected, SearchRejected) if kind.family in stage.families)


def _match_dead_letters(stage: Stage[Any]) -> str:
    return f"{failure_filter(stage.name, '*').removesuffix('*.*')}>"


def _list_fixed(stages: Iterable[Stage[Any]]) -> list[StageConsumer]:
    """List the consumers of stages whose names are known beforehand: all but those of generations."""
    chosen = tuple(stages)
    return [*plan_consumers(chosen, Generations()), *plan_retry_consumers(chosen)]


def _list_generation_streams(stages: Iterable[Stage[Any]]) -> list[str]:
    return list(dict.fromkeys(LANES[kind.family] for stage in stages for kind in stage.by_generation))


def _allow_incidents(stage: Stage[Any]) -> Iterator[str]:
    consumers = ["*"] if stage.by_generation else [durable.name for durable in _list_fixed([stage]) if durable.stream != RETRIES]
    for kind in (AttemptFailed, MessageBuried, MessageDiscarded):
        for consumer in consumers:
            yield f"{kind_filter(kind).removesuffix('>')}*.*.{consumer}.>"


def _allow_consumer(stream: str, consumer: str) -> Iterator[str]:
    yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    yield f"$JS.API.CONSUMER.INFO.{stream}.{consumer}"
    yield f"$JS.ACK.{stream}.{consumer}.>"


def _allow_reading(name: str, stages: tuple[Stage[Any], ...]) -> Iterator[str]:
    """Allow what the process reads: the state of every stream, the generations, and what its role looks up or follows."""
    names = (name, *(stage.name for stage in stages))
    for stream in (*STREAM_SUBJECTS, STATE_STREAM):
        yield f"$JS.API.STREAM.INFO.{stream}"
    for stream in dict.fromkeys((IMAGES, *(stream for each in names for stream in _READ.get(each, ())))):
        yield f"$JS.API.DIRECT.GET.{stream}"
    for stream in dict.fromkeys((STATE_STREAM, *(stream for each in names for stream in _LOOKED_UP.get(each, ())))):
        yield f"$JS.API.STREAM.MSG.GET.{stream}"
    for stream in dict.fromkeys(stream for each in names for stream in _ERASED.get(each, ())):
        yield f"$JS.API.STREAM.MSG.DELETE.{stream}"
        yield f"$JS.API.STREAM.PURGE.{stream}"
    for key in dict.fromkeys(key for each in names for key in _STATE_WRITTEN.get(each, ())):
        yield f"$KV.{STATE_BUCKET}.{key}"


def _render_user(role: LogRole) -> str:
    deny = f", deny: {_render_subjects(role.deny_publish)}" if role.deny_publish else ""
    return (
        f"    {{\n      user: {role.name}\n      password: ${role.password_variable}\n      permissions: {{\n"
        f"        publish: {{ allow: {_render_subjects(role.publish)}{deny} }}\n"
        f"        subscribe: {{ allow: {_render_subjects(role.subscribe)} }}\n      }}\n    }}"
    )


def _render_subjects(subjects: Iterable[str]) -> str:
    listed = ",\n".join(f'          "{subject}"' for subject in sorted(subjects))
    return f"[\n{listed}\n        ]"


_SERVER_CONFIG = """\
# Made by `mapseek topology server-config`: do not change it here. A NATS server with the log, and a user for each role.
# The passwords come from the environment of the server. There they stand in double quotes, so that each is read as text.

server_name: mapseek
listen: "0.0.0.0:4222"
# Only for the health check inside the container.
http: "127.0.0.1:8222"

# Facts with a vector and dead letters with their whole payload are large.
max_payload: 8MB

jetstream {
  store_dir: "/data"
  # A power cut may lose at most this much of the log. A crash of the process loses no acknowledged message.
  sync_interval: "1s"
}

authorization {
  users: [
USERS
  ]
}
"""
