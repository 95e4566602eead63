"""Facts about searches (the search lane). They are kept for seven days only, since screenshots are personal."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.errors import RejectCode
from contracts.events.base import Fact, Family, Id, Instant, Payload, Person, Quad, Sha256, Source, Text, Vector

Verdict = Literal["match", "possible", "none", "error"]
By = Literal["image", "text"]
"""The kind of query: a picture, or words."""


class DiscordReply(Payload):
    """The answer goes to Discord: into the deferred response of this interaction.

    The token works for 15 minutes after `requested_at`.
    `message_id` is a follow-up message to edit instead, if one interaction makes several searches.
    """

    kind: Literal["discord"] = "discord"
    application_id: Id
    token: str = Field(repr=False)
    message_id: Id | None = None


class LocalReply(Payload):
    """The asker reads the answer from the log, as the command line does."""

    kind: Literal["local"] = "local"


class Filters(Payload):
    """Limits the answer to posts of one author, and to posts with `after` <= time < `before`."""

    author_id: Id | None = None
    after: Instant | None = None
    before: Instant | None = None


class Question(Payload):
    """The context of a search: who asked, where, and how to answer. Every fact of the search carries it.

    `readable_channels` are the channels that the answer may show. They are computed when the search is made, from what the asker
    may read; None means all channels of the guild (for the owner's own command line). `channel_id` is where the search was made,
    `locale` is Discord's name for the language of the answer, only the asker sees a `private` answer, and `top` is the maximum of
    pieces.
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
    """Something that happened to a search. `search_id` is the snowflake of the interaction, or random for a local search."""

    family: ClassVar[Family] = "search"

    guild_id: Id
    search_id: Id
    question: Question

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id)

    def to_rejection(self, stage: str, code: RejectCode, reason: str) -> "SearchRejected":
        """Build the fact that ends this search with an error sentence for the asker."""
        return SearchRejected(
            guild_id=self.guild_id, search_id=self.search_id, question=self.question, stage=stage, code=code, reason=reason
        )


class SearchRequested(SearchFact):
    """A member searched for a picture. `spoiler`: it was covered where the member took it from, so it is never shown open.

    The facts that follow carry `spoiler` on.
    """

    name: ClassVar[str] = "requested"

    filename: Text
    source: Source
    spoiler: bool = False


class SearchDescribed(SearchFact):
    """A member searched by words. `excluded` are words that the picture must not look like."""

    name: ClassVar[str] = "described"

    words: Text
    excluded: tuple[Text, ...] = ()


class SearchDownloaded(SearchFact):
    """The file of the query is in the blob store."""

    name: ClassVar[str] = "downloaded"

    blob: Sha256
    size: int
    spoiler: bool = False


class SearchPreprocessed(SearchFact):
    """The query picture as canonical RGB (lossless PNG) is in the blob store.

    `file` is the SHA-256 of the query's file, None in facts of an older release. The facts that follow carry it on.
    """

    name: ClassVar[str] = "preprocessed"

    pixels: Sha256
    width: int
    height: int
    preprocessing: Id
    file: Sha256 | None = None
    spoiler: bool = False


class SearchFingerprinted(SearchFact):
    """The query's fingerprint is in the blob store.

    `places` are its regions: outlines that look like maps or screens, the likeliest first. The whole picture is not among them.
    """

    name: ClassVar[str] = "fingerprinted"

    pixels: Sha256
    width: int
    height: int
    preprocessing: Id
    method: Id
    fingerprint: Sha256
    places: tuple[Quad, ...] = ()
    file: Sha256 | None = None
    spoiler: bool = False


class Calibration(Payload):
    """The cosine similarities from which the vectors of an encoder mean a match, and a possible match."""

    match_at: float
    possible_at: float


class SearchEmbedded(SearchFact):
    """The query's vector, the generation that it may be compared with, and the calibration of similarities there.

    `views` are the vectors of the query's regions, in the order of SearchFingerprinted.places. `fingerprint` and its `method` are
    those of the query, None for words. `file` is the SHA-256 of the query's file, None for words.
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
    file: Sha256 | None = None
    spoiler: bool = False


class Panel(Payload):
    """The maps of a larger piece that the query shows.

    The piece has `rows` x `columns` maps. The query shows `height` x `width` of them, from `row` and `column` on (from 1, top
    left).
    """

    row: int
    column: int
    rows: int
    columns: int
    height: int = 1
    width: int = 1


class Evidence(Payload):
    """Why an archived image is a result of the search.

    `by` is the method that found it: the SHA-256 of the file, the perceptual hash, local features in the same arrangement
    (points), the comparison of the two pictures laid over each other (overlay), or only the vectors. `points` is the number of
    local features that agree. `agreement` is the correlation (-1 to 1) of the two pictures laid over each other, None if they
    were not. The query shows the archived picture first `mirrored` left to right, then turned clockwise by `turn` degrees, and
    seen at an `angle` if it is no longer a rectangle. `place` is where the whole archived picture lies in the query, `shown` the
    fraction of it that is inside.
    """

    by: Literal["file", "hash", "points", "overlay", "vector"]
    points: int = 0
    agreement: float | None = None
    turn: Literal[0, 90, 180, 270] = 0
    mirrored: bool = False
    angle: bool = False
    place: Quad | None = None
    shown: float = 1.0
    panel: Panel | None = None


class Match(Payload):
    """One archived image that was found. `posts` are the other posts of the same piece.

    With `evidence`, `score` is the calibrated probability (0 to 1) that the query shows this piece. Without (for words, and in
    generations without fingerprints) it is the cosine similarity to the query.
    """

    image_id: Id
    score: float
    posts: tuple[Id, ...] = ()
    evidence: Evidence | None = None


class SearchMatched(SearchFact):
    """The verdict, and the best archived pieces that the asker may see, best first.

    Since version 2, `evidence` can say that it is the very same file. `spoiler`: the query's picture is never shown open.
    """

    name: ClassVar[str] = "matched"
    version: ClassVar[int] = 2

    generation: Id
    verdict: Verdict
    matches: tuple[Match, ...]
    trained: bool
    by: By = "image"
    calibration: Calibration | None = None
    spoiler: bool = False


class SearchRejected(SearchFact):
    """The search cannot be answered. `reason` is a sentence for the asker."""

    name: ClassVar[str] = "rejected"

    stage: str
    code: RejectCode
    reason: Text


class SearchAnswered(SearchFact):
    """The end of a search. The answer was sent to Discord, left in the log for a local asker, or was too late to send (expired)."""

    name: ClassVar[str] = "answered"

    verdict: Verdict
    outcome: Literal["sent", "local", "expired"]


class SearchPressed(Fact):
    """A button under an answer was pressed. The fact is about a search that is already answered."""

    family: ClassVar[Family] = "search"

    guild_id: Id
    search_id: Id
    interaction_id: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id, self.interaction_id)


class SearchBrowsed(SearchPressed):
    """Someone opened another page of an answer.

    `question` is about the presser: what they may read now, and where to show the page.
    `view`: a piece among the matches, the posts of that piece, or why it was found. `piece` and `page` count from 0.
    """

    name: ClassVar[str] = "browsed"

    question: Question
    view: Literal["piece", "posts", "why"] = "piece"
    piece: int = Field(default=0, ge=0)
    page: int = Field(default=0, ge=0)


class SearchVoted(SearchPressed):
    """Someone voted on an image of an answer: `right` is True for *This is it*, False for *Not it*."""

    name: ClassVar[str] = "voted"

    image_id: Id
    right: bool
    voter: Person
    voted_at: Instant


class SearchJudged(SearchPressed):
    """A vote with all that is needed to repeat the search. These facts are the evaluation set and are kept for good.

    The last vote of a person on an image of a search counts. `pixels` is the canonical query picture; a search by words has
    `words` instead.
    """

    name: ClassVar[str] = "judged"

    image_id: Id
    right: bool
    voter_id: Id
    judged_at: Instant
    generation: Id
    score: float
    pixels: Sha256 | None = None
    words: Text | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.search_id, self.voter_id, self.interaction_id)
