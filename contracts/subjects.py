"""The only place where a subject or a stream name is built or parsed.

A fact is a message on the subject of its entity, `mapseek.<family>.<name>.v<N>.<key...>`, so that an image's whole history is one
filter and a second recording of the same fact is refused by the server.
"""

from contracts.errors import Malformed
from contracts.events.base import Fact, Family

IMAGES = "IMAGES"
SEARCHES = "SEARCHES"
FAILURES = "FAILURES"

LANES: dict[str, str] = {"image": IMAGES, "search": SEARCHES}
"""The stream of each lane, by the family of the facts that flow in it."""

STREAM_SUBJECTS: dict[str, tuple[str, ...]] = {
    IMAGES: ("mapseek.image.>", "mapseek.generation.>"),
    SEARCHES: ("mapseek.search.>",),
    FAILURES: ("mapseek.failure.>",),
}

_STREAM_OF: dict[Family, str] = {"image": IMAGES, "search": SEARCHES, "generation": IMAGES}


def stream_of(fact: type[Fact] | Fact) -> str:
    """The log that keeps this kind of fact."""
    return _STREAM_OF[fact.family]


def subject_of(fact: Fact) -> str:
    """The one subject on which this fact may be recorded, once."""
    return subject_for(type(fact), *fact.key)


def subject_for(kind: type[Fact], *key: str) -> str:
    """The subject of the fact of a kind that has this key."""
    return ".".join(("mapseek", kind.family, kind.name, f"v{kind.version}", *key))


def lane_filter(family: str) -> str:
    """Every fact of one lane."""
    return f"mapseek.{family}.>"


def guild_lane_filter(family: Family, guild_id: str) -> str:
    """Everything that happens in one lane of one guild."""
    return f"mapseek.{family}.*.*.{guild_id}.>"


def kind_filter(fact: type[Fact], version: str = "*") -> str:
    """Every fact of one kind, whatever its version: `mapseek.image.posted.*.>`."""
    return f"mapseek.{fact.family}.{fact.name}.{version}.>"


def entity_filters(family: Family, guild_id: str, entity_id: str) -> tuple[str, str]:
    """Everything that ever happened to one image or search; the second filter matches facts with a variant token."""
    history = f"mapseek.{family}.*.*.{guild_id}.{entity_id}"
    return history, f"{history}.*"


def guild_filter(fact: type[Fact], guild_id: str) -> str:
    """Every fact of one kind about one guild."""
    return f"mapseek.{fact.family}.{fact.name}.*.{guild_id}.>"


def parse_subject(subject: str) -> tuple[str, int]:
    """Type name and version of the fact on a subject: `mapseek.image.posted.v1.7.9` is `("image.posted", 1)`."""
    tokens = subject.split(".")
    if len(tokens) < 5 or tokens[0] != "mapseek" or not (tokens[3].startswith("v") and tokens[3][1:].isdigit()):
        raise Malformed(f"{subject!r} is not the subject of a fact")
    return f"{tokens[1]}.{tokens[2]}", int(tokens[3][1:])


def durable_name(stage: str, family: str) -> str:
    """The durable consumer of a stage in one lane: `embed-image`, `embed-search`."""
    return f"{stage}-{family}"


def failure_subject(stage: str, family: str, sequence: int) -> str:
    """Where the dead letter of one log entry lies: one for each stage and stream sequence."""
    return f"mapseek.failure.{stage}.{family}.{sequence}"


def failure_filter(stage: str, family: str) -> str:
    """The dead letters of one stage (`*`: of all) in one lane."""
    return f"mapseek.failure.{stage}.{family}.*"
