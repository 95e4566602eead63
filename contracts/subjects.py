"""Builds and parses all subjects, stream names, consumer names and keys. No other module does.

A fact is a message on the subject of its entity, `mapseek.<family>.<name>.v<N>.<key...>`. So one filter finds the whole history of
an image, and the server refuses to record the same fact twice.
"""

import re
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
"""The stream of each lane, by the family of its facts."""

RECORD, MESSAGE, DISCORD = "record", "message", "DISCORD"
"""What the gateway does with a message of Discord, the family of such messages, and where they come from. They are no stage, lane
and stream, but stand for them in the dead letter of a message that cannot be read."""

_STREAM_OF: dict[Family, str] = {**LANES, "generation": IMAGES, "incident": INCIDENTS}  # type: ignore[dict-item]

REBUILD_INDEX = "mapseek.control.rebuild-index"
"""Not in any stream: requests to every process that holds a vector index, to rebuild it or to compare it with the log."""

CATALOGUE_REBUILD_CHECK = "mapseek.control.rebuilding-catalogue"
"""Not in any stream: a process that rebuilds the catalogue answers requests here, since only one may do so at a time."""

STATE_BUCKET = "mapseek-state"
"""The key-value bucket with the documents beside the log."""

SETTINGS, MARKS, BACKFILLS, FORGOTTEN, REQUESTS = "settings", "mark", "backfill", "forgotten", "requests"
"""The first tokens of its keys: one for each kind of document."""

MAX_SHOWN_CHARACTERS = 100
"""The most characters of a wrong subject or key that an error shows."""


_ID = "[A-Za-z0-9_-]{1,64}"
"""The grammar of ids, as in contracts/events/base.py."""

_FACT_SUBJECT = re.compile(rf"mapseek\.([a-z]{{1,32}}\.[a-z]{{1,32}})\.v([1-9][0-9]{{0,3}})(?:\.{_ID}){{1,8}}")
_LETTER_SUBJECT = re.compile(rf"mapseek\.(?:failure|retry)\.({_ID})\.({'|'.join(LANES)})\.([1-9][0-9]{{0,17}})(?:\.({_ID}))?")
_MESSAGE_LETTER_SUBJECT = re.compile(rf"mapseek\.(?:failure|retry)\.{RECORD}\.{MESSAGE}\.([1-9][0-9]{{0,19}})\.({_ID})")
_STATE_KEY = re.compile(
    rf"(?P<guild>{SETTINGS})\.{_ID}|(?P<channel>{MARKS}|{BACKFILLS})\.[0-9]{{1,20}}\.[0-9]{{1,20}}"
    rf"|(?P<member>{FORGOTTEN})\.{_ID}\.{_ID}|(?P<owner>owner)"
)


def stream_of(fact: type[Fact] | Fact) -> str:
    """Return the stream that stores this kind of fact. Judgements have their own: they are kept for good, unlike searches."""
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
    """Return the one subject on which this fact may be recorded, once."""
    return build_subject(type(fact), *fact.key)


def build_subject(kind: type[Fact], *key: str) -> str:
    """Build the subject of the fact of this kind with this key."""
    return ".".join(("mapseek", kind.family, kind.name, f"v{kind.version}", *key))


def versions_filter(kind: type[Fact], *key: str) -> str:
    """Matches the fact of this kind with this key: on one subject, or on one for each version if there were older versions."""
    return build_subject(kind, *key) if kind.version == 1 else f"mapseek.{kind.family}.{kind.name}.*.{'.'.join(key)}"


def lane_filter(family: str) -> str:
    """Matches every fact of one lane."""
    return f"mapseek.{family}.>"


def guild_lane_filter(family: Family, guild_id: str) -> str:
    """Matches every fact of one lane in one guild."""
    return f"mapseek.{family}.*.*.{guild_id}.>"


def kind_filter(fact: type[Fact], version: str = "*") -> str:
    """Matches every fact of one kind, by default of any version: `mapseek.image.posted.*.>`."""
    return f"mapseek.{fact.family}.{fact.name}.{version}.>"


def is_subject_of(fact: Fact, subject: str) -> bool:
    """Whether the subject has the key of this fact. The version is ignored."""
    return tuple(subject.split(".")[4:]) == fact.key


def uniqueness_filter(fact: Fact) -> str:
    """Return the filter that must match no message when the fact is recorded: its own subject, in any version.

    For a post it matches any fact with the same key. ImageRemoved has the same key, so the server refuses the post of a removed
    image for good.
    """
    if isinstance(fact, ImagePosted):
        return ".".join(("mapseek", fact.family, "*", "*", *fact.key))
    return versions_filter(type(fact), *fact.key)


def entity_filters(family: Family, guild_id: str, entity_id: str) -> tuple[str, str]:
    """Matches all facts about one image or search. The second filter is for facts with a variant token."""
    history = f"mapseek.{family}.*.*.{guild_id}.{entity_id}"
    return history, f"{history}.>"


def posts_of_message_filter(guild_id: str, message_id: str) -> str:
    """Matches the posts of the images of one message."""
    return f"{kind_filter(ImagePosted).removesuffix('>')}{guild_id}.*.{message_id}"


def images_of_message_filter(guild_id: str, message_id: str) -> str:
    """Matches the posts of the images of one message, and the tombstones of removed ones."""
    return f"mapseek.{ImagePosted.family}.*.*.{guild_id}.*.{message_id}"


def turns_of_message_filter(guild_id: str, message_id: str) -> str:
    """Matches the facts that say whether one message shows its images: hidden, and shown again."""
    return f"{images_of_message_filter(guild_id, message_id)}.*"


def person_filters(guild_id: str, person_id: str) -> dict[str, tuple[str, ...]]:
    """Matches, by stream, what is kept for good about a person in a guild: their votes and their alerts."""
    alerts = f"mapseek.{AlertFact.family}.*.*.{guild_id}.*.{person_id}"
    votes = f"{kind_filter(SearchJudged).removesuffix('>')}{guild_id}.*.{person_id}.*"
    return {JUDGEMENTS: (votes,), ALERTS: (alerts, f"{alerts}.>")}


def guild_filter(fact: type[Fact], guild_id: str) -> str:
    """Matches every fact of one kind in one guild."""
    return f"mapseek.{fact.family}.{fact.name}.*.{guild_id}.>"


def parse_subject(subject: str) -> tuple[str, int]:
    """Parse the type name and version out of a subject: `mapseek.image.posted.v1.7.9` is `("image.posted", 1)`.

    Every token of its key must be an id, so that whoever publishes on a parsed subject reaches no other one. Raises Malformed.
    """
    found = _FACT_SUBJECT.fullmatch(subject)
    if found is None:
        raise Malformed(f"{subject[:MAX_SHOWN_CHARACTERS]!a} is not the subject of a fact")
    return found[1], int(found[2])


def entity_of(subject: str) -> tuple[str, str]:
    """Return the guild id and the image, search, alert or removal id of a fact's subject; empty strings if it has none."""
    tokens = subject.split(".")
    return (tokens[4], tokens[5]) if len(tokens) > 5 else ("", "")


def turn_of(subject: str) -> int:
    """Return the turn of a fact that hides or shows an image, the last token of its subject; 0, before all turns, if it is none."""
    turn = subject.rpartition(".")[2]
    return int(turn) if turn.isdecimal() else 0


class DeadLetterKey(NamedTuple):
    """Identifies a dead letter: the stage that gave up, the family and stream sequence of the message, and maybe a generation.

    A message of Discord has its id instead of a sequence, and its guild.
    """

    stage: str
    family: str
    sequence: str
    generation: str | None = None
    guild_id: str | None = None

    @property
    def id(self) -> str:
        """The id that people type: `embed/image/123`, `embed/image/123/g2`, `record/message/1234567890`."""
        return "/".join(filter(None, (self.stage, self.family, self.sequence, self.generation)))


def parse_dead_letter(subject: str) -> DeadLetterKey:
    """Parse a subject made by `failure_subject` or `retry_subject`. Raises Malformed."""
    if found := _LETTER_SUBJECT.fullmatch(subject):
        return DeadLetterKey(*found.groups())
    if found := _MESSAGE_LETTER_SUBJECT.fullmatch(subject):
        return DeadLetterKey(RECORD, MESSAGE, found[1], guild_id=found[2])
    raise Malformed(f"{subject[:MAX_SHOWN_CHARACTERS]!a} is not the subject of a dead letter")


def consumer_name(stage: str, family: str, generation: str | None = None) -> str:
    """Build the name of the durable consumer of a stage in one lane, or for one generation: `download-image`, `embed-image-g1`."""
    return "-".join(filter(None, (stage, family, generation)))


def past_consumer_name(durable: str) -> str:
    """Build the name of the consumer of the replay that handles the messages before the start of a generation's own consumer."""
    return f"{durable}-past"


def retry_consumer_name(stage: str) -> str:
    """Build the name of the durable consumer of a stage's retried dead letters."""
    return f"{stage}-retry"


def generation_filter(kind: type[Fact], generation: Generation) -> str:
    """Matches the facts of one kind for a generation, `mapseek.image.embedded.*.*.*.g2`; all facts if the kind has no variant."""
    if kind.variant is None:
        return kind_filter(kind)
    return variant_filter(kind, generation.variant_token(kind.variant))


def variant_filter(kind: type[Fact], variant: str) -> str:
    """Matches the facts of one kind whose key ends with this variant.

    Such keys have guild, entity, variant; alerts a person too.
    """
    entity = "*.*.*" if kind.family == AlertFact.family else "*.*"
    return f"mapseek.{kind.family}.{kind.name}.*.{entity}.{variant}"


def all_variants_filter(kind: type[Fact], *entity: str) -> str:
    """Matches the facts of one kind about one entity, of any variant: `mapseek.image.reposted.*.7.9.*`."""
    return f"{kind_filter(kind).removesuffix('>')}{'.'.join(entity)}.*"


def selection_filters(kind: type[Fact], variant: str | None, guild_id: str | None, entity_id: str | None) -> tuple[str, ...]:
    """Matches the facts of one kind, narrowed by variant, guild, and image or search, as far as these are given."""
    about = f"mapseek.{kind.family}.{kind.name}.*.{guild_id or '*'}.{entity_id or '*'}"
    if variant is not None:
        return (f"{about}.{variant}",)
    if entity_id is not None:
        return about, f"{about}.>"
    return (guild_filter(kind, guild_id) if guild_id else kind_filter(kind),)


def failure_subject(
    stage: str, family: str, sequence: int | str, generation: str | None = None, guild_id: str | None = None
) -> str:
    """Build the subject of a dead letter: one for each stage, stream sequence and, if the stage works by generation, generation.

    That of a message of Discord ends with its guild, so that a guild's can be found.
    """
    return ".".join(filter(None, ("mapseek", "failure", stage, family, str(sequence), generation, guild_id)))


def failure_filter(stage: str, family: str, generation: str | None = None) -> str:
    """Matches the dead letters of one stage (`*`: all stages) in one lane, either of one generation or without generation."""
    return failure_subject(stage, family, "*", generation)


def retry_subject(stage: str, family: str, sequence: int | str, generation: str | None = None, guild_id: str | None = None) -> str:
    """Build the subject on which a dead letter is put back for its stage."""
    return ".".join(filter(None, ("mapseek", "retry", stage, family, str(sequence), generation, guild_id)))


def message_subject(guild_id: str, message_id: str) -> str:
    """Name a message of Discord as the subject of a fact names its entity. Nothing is recorded on this subject."""
    return f"mapseek.{MESSAGE}.created.v1.{guild_id}.{message_id}"


def retry_filter(stage: str) -> str:
    """Matches all retried dead letters of a stage."""
    return f"mapseek.retry.{stage}.>"


def incident_filter(guild_id: str, entity_id: str) -> str:
    """Matches all incidents of one image, search, alert or removal."""
    return f"mapseek.incident.*.*.{guild_id}.{entity_id}.>"


def settings_key(guild_id: str) -> str:
    """The key of a guild's settings."""
    return f"{SETTINGS}.{guild_id}"


def mark_key(guild_id: str, channel_id: str) -> str:
    """The key of a channel's high-water mark."""
    return f"{MARKS}.{guild_id}.{channel_id}"


def backfill_key(guild_id: str, channel_id: str) -> str:
    """The key of a channel's back-fill."""
    return f"{backfills_prefix(guild_id)}.{channel_id}"


def backfills_prefix(guild_id: str) -> str:
    """The common prefix of the keys of a guild's back-fills."""
    return f"{BACKFILLS}.{guild_id}"


def forgotten_key(guild_id: str, person_id: str) -> str:
    """The key of a person's request to be forgotten in a guild."""
    return f"{FORGOTTEN}.{guild_id}.{person_id}"


def owner_key() -> str:
    """The key of the bot that this archive belongs to."""
    return "owner"


def import_key() -> str:
    """The key of the archive that is being imported."""
    return "import"


def parse_state_key(key: str) -> str:
    """Parse the kind of document out of a key: SETTINGS, MARKS, BACKFILLS, FORGOTTEN, or `owner_key()`.

    Raises Malformed for any other key, also for those of an import and of requests, which belong to one installation.
    """
    found = _STATE_KEY.fullmatch(key)
    if found is None:
        raise Malformed(f"{key[:MAX_SHOWN_CHARACTERS]!a} is not the key of a document")
    return str(found[found.lastgroup or 0])


def requests_key(kind: str) -> str:
    """The key of the count of requests to Discord, shared by all processes: `all` requests, or the `invalid` ones."""
    return f"{REQUESTS}.{kind}"
