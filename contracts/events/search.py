"""The search lane: what happened to one question, kept for seven days, since screenshots are personal."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.errors import RejectCode
from contracts.events.base import Fact, Family, Id, Instant, Payload, Person, Quad, Sha256, Source, Vector

Verdict = Literal["match", "possible", "none", "error"]
By = Literal["image", "text"]
"""What was asked with: a picture, or words."""


class DiscordReply(Payload):
    """Edit the deferred answer of this interaction; the token works for 15 minutes after `requested_at`.

    `message_id` is a follow-up message to edit instead, where one interaction asks about several images.
    """

    kind: Literal["discord"] = "discord"
    application_id: Id
    token: str = Field(repr=False)
    message_id: Id | None = None


class LocalReply(Payload):
    """The asker reads the answer from the log (the command line does)."""

    kind: Literal["local"] = "local"


class Filters(Payload):
    """What an answer is limited to, besides the channels: one author's posts, and posts within `after` <= time < `before`."""

    author_id: Id | None = None
    after: Instant | None = None
    before: Instant | None = None


class Question(Payload):
    """What travels with a search from the command to the reply.

    `readable_channels` are the channels that may be shown, computed when asked from what the asker may read; None means all of the
    guild (the owner's own command line). `channel_id` is where it was asked, `locale` is Discord's name of the answer's language,
    `private` answers are seen by the asker alone, and `top` is how many pieces are wanted at most.
    """

    asker: Person
    requested_at: Instant
    reply: Annotated[DiscordReply | LocalReply, Field(discriminator="kind")]
    readable_channels: tuple[Id, ...] | None = None
    top: int = Field(default=3, ge=1, le=100)
    channel_id: Id | None = None
    locale: str = "en-US"
    private: bool = True
    filters: Filters | None = None


class SearchFact(Fact):
    """Something that happened to a question. The search id is the interaction's snowflake, or random for a local one."""

    family: ClassVar[Family] = "search"

    guild_id: Id
    search_id: Id
    question: Question

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id)

    def to_rejection(self, stage: str, code: RejectCode, reason: str) -> "SearchRejected":
        """The fact that turns a question that cannot be answered into an error sentence for the asker."""
        return SearchRejected(
            guild_id=self.guild_id, search_id=self.search_id, question=self.question, stage=stage, code=code, reason=reason
        )


class SearchRequested(SearchFact):
    """A member asked where a picture was first posted."""

    name: ClassVar[str] = "requested"

    filename: str
    source: Source


class SearchDescribed(SearchFact):
    """A member described in words what they look for, and in `excluded` what it must not look like."""

    name: ClassVar[str] = "described"

    words: str
    excluded: tuple[str, ...] = ()


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


class SearchFingerprinted(SearchFact):
    """What the question is compared by besides its vector: its fingerprint as a blob, and where in it map art may lie.

    `places` are the outlines that look like those of maps or screens, the likeliest first; the whole picture is not among them.
    """

    name: ClassVar[str] = "fingerprinted"

    pixels: Sha256
    width: int
    height: int
    preprocessing: Id
    method: Id
    fingerprint: Sha256
    places: tuple[Quad, ...] = ()


class Calibration(Payload):
    """From which cosine similarity on an encoder's vectors mean a match, and from which a possible one."""

    match_at: float
    possible_at: float


class SearchEmbedded(SearchFact):
    """The question's vector, the generation that it may be compared with, and how to read a similarity there.

    `views` are the vectors of the places in it where map art may lie, in the order of SearchFingerprinted.places; `fingerprint`
    and its `method` are the question's, None for words.
    """

    name: ClassVar[str] = "embedded"

    generation: Id
    vector: Vector
    calibration: Calibration
    trained: bool
    by: By = "image"
    views: tuple[Vector, ...] = ()
    fingerprint: Sha256 | None = None
    method: Id | None = None


class Panel(Payload):
    """The maps of a larger piece that the question shows, from `row` and `column` on, counted from 1 at the top left.

    The piece has `rows` x `columns` maps, of which the question shows `height` x `width`.
    """

    row: int
    column: int
    rows: int
    columns: int
    height: int = 1
    width: int = 1


class Evidence(Payload):
    """Why an archived image is taken for what was asked for.

    `by` is what told: the perceptual hash, local features that lie in the same way to each other, the comparison of the two
    pictures laid over each other, or no more than the vectors of both. `points` is how many local features agree, `agreement` the
    correlation (-1 to 1) of the two pictures laid over each other, None where they were not. The question shows the archived
    picture turned clockwise by `turn` degrees after it was `mirrored` left to right, seen at an `angle` when it is no rectangle
    any more; `place` is where in the question the whole of it lies, `shown` the fraction of it that is inside.
    """

    by: Literal["hash", "points", "overlay", "vector"]
    points: int = 0
    agreement: float | None = None
    turn: Literal[0, 90, 180, 270] = 0
    mirrored: bool = False
    angle: bool = False
    place: Quad | None = None
    shown: float = 1.0
    panel: Panel | None = None


class Match(Payload):
    """One archived image; `posts` are the other posts of the same piece.

    `score` is how sure it is (0 to 1) where there is `evidence`: the calibrated probability that the question shows this piece.
    Before there were fingerprints, and for words, it is the cosine similarity to the question.
    """

    image_id: Id
    score: float
    posts: tuple[Id, ...] = ()
    evidence: Evidence | None = None


class SearchMatched(SearchFact):
    """The verdict and the nearest archived pieces that the asker may see, best first."""

    name: ClassVar[str] = "matched"

    generation: Id
    verdict: Verdict
    matches: tuple[Match, ...]
    trained: bool
    by: By = "image"
    calibration: Calibration | None = None


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


class SearchPressed(Fact):
    """A button under an answer was pressed. It is about a search, but answers nothing that is still open."""

    family: ClassVar[Family] = "search"

    guild_id: Id
    search_id: Id
    interaction_id: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id, self.interaction_id)


class SearchBrowsed(SearchPressed):
    """Someone turned to another page of an answer. `question` is the presser's: what they may read now, and where to show it.

    `view` is a piece among the matches, the posts of that piece, or why it was found; `piece` and `page` count from 0.
    """

    name: ClassVar[str] = "browsed"

    question: Question
    view: Literal["piece", "posts", "why"] = "piece"
    piece: int = Field(default=0, ge=0)
    page: int = Field(default=0, ge=0)


class SearchVoted(SearchPressed):
    """Someone said of an answered image that it is what was asked for, or that it is not."""

    name: ClassVar[str] = "voted"

    image_id: Id
    right: bool
    voter: Person
    voted_at: Instant


class SearchJudged(SearchPressed):
    """A vote with all that is needed to ask again: kept for ever, it is the evaluation set.

    The last vote of a person on an image of a search counts. `pixels` is the canonical picture that was asked with; a search by
    words has `words` instead.
    """

    name: ClassVar[str] = "judged"

    image_id: Id
    right: bool
    voter_id: Id
    judged_at: Instant
    generation: Id
    score: float
    pixels: Sha256 | None = None
    words: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id, self.voter_id, self.interaction_id)
