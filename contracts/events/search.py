"""The search lane: what happened to one question, kept for seven days, since screenshots are personal."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.errors import RejectCode
from contracts.events.base import Fact, Family, Id, Instant, Payload, Person, Sha256, Source, Vector

Verdict = Literal["match", "possible", "none", "error"]


class DiscordReply(Payload):
    """Edit the deferred answer of this interaction; the token works for 15 minutes after `requested_at`."""

    kind: Literal["discord"] = "discord"
    application_id: Id
    token: str = Field(repr=False)


class LocalReply(Payload):
    """The asker reads the answer from the log (the command line does)."""

    kind: Literal["local"] = "local"


class Question(Payload):
    """What travels with a search from the command to the reply.

    `readable_channels` are the channels that the asker may read, computed when asked; None means all of the guild (the owner's
    own command line).
    """

    asker: Person
    requested_at: Instant
    reply: Annotated[DiscordReply | LocalReply, Field(discriminator="kind")]
    readable_channels: tuple[Id, ...] | None = None
    top: int = Field(default=3, ge=1, le=100)


class SearchFact(Fact):
    """Something that happened to a question. The search id is the interaction's snowflake, or random for a local one."""

    family: ClassVar[Family] = "search"

    guild_id: Id
    search_id: Id
    question: Question

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id)

    def rejected(self, stage: str, code: RejectCode, reason: str) -> "SearchRejected":
        """The fact that turns a question that cannot be answered into an error sentence for the asker."""
        return SearchRejected(
            guild_id=self.guild_id, search_id=self.search_id, question=self.question, stage=stage, code=code, reason=reason
        )


class SearchRequested(SearchFact):
    """A member asked where a picture was first posted."""

    name: ClassVar[str] = "requested"

    filename: str
    source: Source


class SearchDownloaded(SearchFact):
    """The bytes of the question are in the blob store."""

    name: ClassVar[str] = "downloaded"

    blob: Sha256
    size: int


class SearchPreprocessed(SearchFact):
    """The question as canonical RGB (lossless PNG) is in the blob store."""

    name: ClassVar[str] = "preprocessed"

    pixels: Sha256
    width: int
    height: int
    preprocessing: Id


class Calibration(Payload):
    """From which cosine similarity on an encoder's vectors mean a match, and from which a possible one."""

    match_at: float
    possible_at: float


class SearchEmbedded(SearchFact):
    """The question's vector, the generation that it may be compared with, and how to read a similarity there."""

    name: ClassVar[str] = "embedded"

    generation: Id
    vector: Vector
    calibration: Calibration
    trained: bool


class Match(Payload):
    """One archived image and its cosine similarity to the question."""

    image_id: Id
    score: float


class SearchMatched(SearchFact):
    """The verdict and the nearest archived images that the asker may see, best first."""

    name: ClassVar[str] = "matched"

    generation: Id
    verdict: Verdict
    matches: tuple[Match, ...]
    trained: bool


class SearchRejected(SearchFact):
    """The question cannot be answered; `reason` is a sentence for the asker."""

    name: ClassVar[str] = "rejected"

    stage: str
    code: RejectCode
    reason: str


class SearchAnswered(SearchFact):
    """The end of a question: sent to Discord, left in the log for a local asker, or too late to send."""

    name: ClassVar[str] = "answered"

    verdict: Verdict
    outcome: Literal["sent", "local", "expired"]
