"""The only place where a subject or a stream name is built or parsed.

A fact is a message on the subject of its entity, `mapseek.<family>.<name>.v<N>.<key...>`, so that an image's whole history is one
filter and a second recording of the same fact is refused by the server.
"""

from contracts.errors import Malformed
from contracts.events import FACTS, AlertFact, ImagePosted, SearchJudged
from contracts.events.base import Fact, Family

IMAGES = "IMAGES"
SEARCHES = "SEARCHES"
JUDGEMENTS = "JUDGEMENTS"
ALERTS = "ALERTS"
REMOVALS = "REMOVALS"
FAILURES = "FAILURES"

LANES: dict[str, str] = {"image": IMAGES, "search": SEARCHES, "alert": ALERTS, "removal": REMOVALS}
"""The stream of each lane, by the family of the facts that flow in it."""

_STREAM_OF: dict[Family, str] = {**LANES, "generation": IMAGES}  # type: ignore[dict-item]

STATE = "mapseek-state"
"""The key-value bucket of what is kept beside the logs."""

SETTINGS, MARKS, BACKFILLS, FORGOTTEN = "settings", "mark", "backfill", "forgotten"
"""The first tokens of its keys: everything of one sort is under it."""


def stream_of(fact: type[Fact] | Fact) -> str:
    """The log that keeps this kind of fact. Votes are kept for ever, unlike the searches that they are about."""
    return JUDGEMENTS if fact.type_name() == SearchJudged.type_name() else _STREAM_OF[fact.family]


STREAM_SUBJECTS: dict[str, tuple[str, ...]] = {
    IMAGES: ("mapseek.image.>", "mapseek.generation.>"),
    SEARCHES: tuple(f"mapseek.search.{kind.name}.>" for kind in FACTS.values() if stream_of(kind) == SEARCHES),
    JUDGEMENTS: (f"mapseek.search.{SearchJudged.name}.>",),
    ALERTS: ("mapseek.alert.>",),
    REMOVALS: ("mapseek.removal.>",),
    FAILURES: ("mapseek.failure.>",),
}


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


def first_of(fact: Fact) -> str:
    """What must still be empty when a fact is recorded: its own subject.

    For a post, any fact that shares its key: ImageRemoved does, so the server refuses the post of a removed image for ever.
    """
    if isinstance(fact, ImagePosted):
        return ".".join(("mapseek", fact.family, "*", "*", *fact.key))
    return subject_of(fact)


def entity_filters(family: Family, guild_id: str, entity_id: str) -> tuple[str, str]:
    """Everything that ever happened to one image or search; the second filter matches facts with a variant token."""
    history = f"mapseek.{family}.*.*.{guild_id}.{entity_id}"
    return history, f"{history}.>"


def posts_of_message_filter(guild_id: str, message_id: str) -> str:
    """The posts of one message's images."""
    return f"{kind_filter(ImagePosted).removesuffix('>')}{guild_id}.*.{message_id}"


def person_filters(guild_id: str, person_id: str) -> dict[str, tuple[str, ...]]:
    """What the logs keep for ever of what a person said in a guild, by stream: their votes and their alerts."""
    alerts = f"mapseek.{AlertFact.family}.*.*.{guild_id}.*.{person_id}"
    votes = f"{kind_filter(SearchJudged).removesuffix('>')}{guild_id}.*.{person_id}.*"
    return {JUDGEMENTS: (votes,), ALERTS: (alerts, f"{alerts}.>")}


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


def settings_key(guild_id: str) -> str:
    """Where a guild's settings are kept."""
    return f"{SETTINGS}.{guild_id}"


def mark_key(guild_id: str, channel_id: str) -> str:
    """Where a channel's high-water mark is kept."""
    return f"{MARKS}.{guild_id}.{channel_id}"


def backfill_key(guild_id: str, channel_id: str) -> str:
    """Where the state of a channel's back-fill is kept."""
    return f"{backfills_of(guild_id)}.{channel_id}"


def backfills_of(guild_id: str) -> str:
    """What the keys of a guild's back-fills are under."""
    return f"{BACKFILLS}.{guild_id}"


def forgotten_key(guild_id: str, person_id: str) -> str:
    """Where it is kept that a person's posts up to a moment are to stay out."""
    return f"{FORGOTTEN}.{guild_id}.{person_id}"


def owner_key() -> str:
    """Where it is kept which bot this archive belongs to."""
    return "owner"


def requests_key(kind: str) -> str:
    """Where all processes count their requests to Discord: `all` of them, or the `invalid` ones."""
    return f"requests.{kind}"
