"""The only place where a subject or a stream name is built or parsed.

A fact is a message on the subject of its entity, `mapseek.<family>.<name>.v<N>.<key...>`, so that an image's whole history is one
filter and a second recording of the same fact is refused by the server.
"""

from typing import NamedTuple

from contracts.errors import Malformed
from contracts.events import FACTS, AlertFact, ImagePosted, SearchJudged
from contracts.events.base import Fact, Family
from contracts.generations import Generation

IMAGES = "IMAGES"
SEARCHES = "SEARCHES"
JUDGEMENTS = "JUDGEMENTS"
ALERTS = "ALERTS"
REMOVALS = "REMOVALS"
FAILURES = "FAILURES"
RETRIES = "RETRIES"
INCIDENTS = "INCIDENTS"

LANES: dict[str, str] = {"image": IMAGES, "search": SEARCHES, "alert": ALERTS, "removal": REMOVALS}
"""The stream of each lane, by the family of the facts that flow in it."""

_STREAM_OF: dict[Family, str] = {**LANES, "generation": IMAGES, "incident": INCIDENTS}  # type: ignore[dict-item]

REBUILD_INDEX = "mapseek.control.rebuild-index"
"""Outside the logs: where every process that holds a vector index is asked to rebuild it, or to compare it with the log."""

CATALOGUE_REBUILD_CHECK = "mapseek.control.rebuilding-catalogue"
"""Outside the logs: where whoever rebuilds the catalogue says so when asked, since only one may do it at a time."""

STATE_BUCKET = "mapseek-state"
"""The key-value bucket of what is kept beside the logs."""

SETTINGS, MARKS, BACKFILLS, FORGOTTEN, REQUESTS = "settings", "mark", "backfill", "forgotten", "requests"
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
    RETRIES: ("mapseek.retry.>",),
    INCIDENTS: ("mapseek.incident.>",),
}


def subject_of(fact: Fact) -> str:
    """The one subject on which this fact may be recorded, once."""
    return build_subject(type(fact), *fact.key)


def build_subject(kind: type[Fact], *key: str) -> str:
    """The subject of the fact of a kind that has this key."""
    return ".".join(("mapseek", kind.family, kind.name, f"v{kind.version}", *key))


def versions_filter(kind: type[Fact], *key: str) -> str:
    """Where the fact of a kind that has this key may lie: on one subject, or on one for each version if there was an older one."""
    return build_subject(kind, *key) if kind.version == 1 else f"mapseek.{kind.family}.{kind.name}.*.{'.'.join(key)}"


def lane_filter(family: str) -> str:
    """Every fact of one lane."""
    return f"mapseek.{family}.>"


def guild_lane_filter(family: Family, guild_id: str) -> str:
    """Everything that happens in one lane of one guild."""
    return f"mapseek.{family}.*.*.{guild_id}.>"


def kind_filter(fact: type[Fact], version: str = "*") -> str:
    """Every fact of one kind, whatever its version: `mapseek.image.posted.*.>`."""
    return f"mapseek.{fact.family}.{fact.name}.{version}.>"


def is_subject_of(fact: Fact, subject: str) -> bool:
    """Whether this fact may be recorded on a subject, of whatever version."""
    return tuple(subject.split(".")[4:]) == fact.key


def uniqueness_filter(fact: Fact) -> str:
    """What must still be empty when a fact is recorded: its own subject, in every version.

    For a post, any fact that shares its key: ImageRemoved does, so the server refuses the post of a removed image for ever.
    """
    if isinstance(fact, ImagePosted):
        return ".".join(("mapseek", fact.family, "*", "*", *fact.key))
    return versions_filter(type(fact), *fact.key)


def entity_filters(family: Family, guild_id: str, entity_id: str) -> tuple[str, str]:
    """Everything that ever happened to one image or search; the second filter matches facts with a variant token."""
    history = f"mapseek.{family}.*.*.{guild_id}.{entity_id}"
    return history, f"{history}.>"


def posts_of_message_filter(guild_id: str, message_id: str) -> str:
    """The posts of one message's images."""
    return f"{kind_filter(ImagePosted).removesuffix('>')}{guild_id}.*.{message_id}"


def images_of_message_filter(guild_id: str, message_id: str) -> str:
    """All that says which images a message has, or had: their posts, and the tombstones of those that were removed."""
    return f"mapseek.{ImagePosted.family}.*.*.{guild_id}.*.{message_id}"


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


def entity_of(subject: str) -> tuple[str, str]:
    """Guild and image, search, alert or removal that a fact's subject is about; empty where it names none."""
    tokens = subject.split(".")
    return (tokens[4], tokens[5]) if len(tokens) > 5 else ("", "")


class DeadLetterKey(NamedTuple):
    """What a dead letter is the letter of: a log entry that a stage could not work on, for one generation or for all."""

    stage: str
    family: str
    sequence: str
    generation: str | None = None

    @property
    def id(self) -> str:
        """By which people name it: `embed/image/123`, `embed/image/123/g2`."""
        return "/".join(filter(None, self))


def parse_dead_letter(subject: str) -> DeadLetterKey:
    """What `failure_subject` or `retry_subject` was given to make the subject of a dead letter, or of one that was put back."""
    return DeadLetterKey(*subject.split(".")[2:])


def consumer_name(stage: str, family: str, generation: str | None = None) -> str:
    """The durable consumer of a stage in one lane, or for one generation there: `download-image`, `embed-image-g1`."""
    return "-".join(filter(None, (stage, family, generation)))


def past_consumer_name(durable: str) -> str:
    """The durable consumer of the replay that builds what a generation's own durable is too late for."""
    return f"{durable}-past"


def retry_consumer_name(stage: str) -> str:
    """The durable consumer of the dead letters of a stage that somebody put back."""
    return f"{stage}-retry"


def generation_filter(kind: type[Fact], generation: Generation) -> str:
    """Every fact of one kind that is for a generation: `mapseek.image.embedded.*.*.*.g2`; all of a kind that has no variant."""
    if kind.variant is None:
        return kind_filter(kind)
    return variant_filter(kind, generation.variant_token(kind.variant))


def variant_filter(kind: type[Fact], variant: str) -> str:
    """Every fact of one kind with that last token of its key; the shortest key of such a kind is guild, entity, variant."""
    entity = "*.*.*" if kind.family == AlertFact.family else "*.*"
    return f"mapseek.{kind.family}.{kind.name}.*.{entity}.{variant}"


def all_variants_filter(kind: type[Fact], *entity: str) -> str:
    """Every fact of one kind about one entity, whatever its variant: `mapseek.image.reposted.*.7.9.*`."""
    return f"{kind_filter(kind).removesuffix('>')}{'.'.join(entity)}.*"


def selection_filters(kind: type[Fact], variant: str | None, guild_id: str | None, entity_id: str | None) -> tuple[str, ...]:
    """Every fact of one kind, with that variant, of that guild, about that image or search, as far as each is named."""
    about = f"mapseek.{kind.family}.{kind.name}.*.{guild_id or '*'}.{entity_id or '*'}"
    if variant is not None:
        return (f"{about}.{variant}",)
    if entity_id is not None:
        return about, f"{about}.>"
    return (guild_filter(kind, guild_id) if guild_id else kind_filter(kind),)


def failure_subject(stage: str, family: str, sequence: int | str, generation: str | None = None) -> str:
    """Where the dead letter of one log entry lies: one for each stage, stream sequence and, where it has some, generation."""
    return ".".join(filter(None, ("mapseek", "failure", stage, family, str(sequence), generation)))


def failure_filter(stage: str, family: str, generation: str | None = None) -> str:
    """The dead letters of one stage (`*`: of all) in one lane, those of a generation apart."""
    return failure_subject(stage, family, "*", generation)


def retry_subject(stage: str, family: str, sequence: int | str, generation: str | None = None) -> str:
    """Where a dead letter is put back for its stage."""
    return ".".join(filter(None, ("mapseek", "retry", stage, family, str(sequence), generation)))


def retry_filter(stage: str) -> str:
    """All that is put back for a stage."""
    return f"mapseek.retry.{stage}.>"


def incident_filter(guild_id: str, entity_id: str) -> str:
    """All that went wrong with one image, search, alert or removal."""
    return f"mapseek.incident.*.*.{guild_id}.{entity_id}.>"


def settings_key(guild_id: str) -> str:
    """Where a guild's settings are kept."""
    return f"{SETTINGS}.{guild_id}"


def mark_key(guild_id: str, channel_id: str) -> str:
    """Where a channel's high-water mark is kept."""
    return f"{MARKS}.{guild_id}.{channel_id}"


def backfill_key(guild_id: str, channel_id: str) -> str:
    """Where the state of a channel's back-fill is kept."""
    return f"{backfills_prefix(guild_id)}.{channel_id}"


def backfills_prefix(guild_id: str) -> str:
    """What the keys of a guild's back-fills are under."""
    return f"{BACKFILLS}.{guild_id}"


def forgotten_key(guild_id: str, person_id: str) -> str:
    """Where it is kept that a person's posts up to a moment are to stay out."""
    return f"{FORGOTTEN}.{guild_id}.{person_id}"


def owner_key() -> str:
    """Where it is kept which bot this archive belongs to."""
    return "owner"


def import_key() -> str:
    """Where it is kept, while an archive is imported, which one."""
    return "import"


def requests_key(kind: str) -> str:
    """Where all processes count their requests to Discord: `all` of them, or the `invalid` ones."""
    return f"{REQUESTS}.{kind}"
