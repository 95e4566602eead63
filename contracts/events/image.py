"""The archive lane: what happened to one posted image, kept until the image is removed."""

from typing import Any, ClassVar, Literal

from contracts.errors import RejectCode
from contracts.events.base import Fact, Family, Id, Instant, Person, Sha256, Source, Variant, Vector


class ImageFact(Fact):
    """Something that happened to an image: its id is the attachment's snowflake, or message id plus position for an embed.

    `thread_of` is set for an image in a public thread or a forum's post: whoever may read that channel may read the thread, even
    one that was archived long ago. In a private thread it is None, since only the thread's own members may read it.
    """

    family: ClassVar[Family] = "image"

    guild_id: Id
    channel_id: Id
    image_id: Id
    thread_of: Id | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.image_id)

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that say which image it is: what every further fact about it starts with."""
        return {
            "guild_id": self.guild_id,
            "channel_id": self.channel_id,
            "image_id": self.image_id,
            "thread_of": self.thread_of,
        }

    @property
    def audience_channel_id(self) -> str:
        """The channel whose readers may see the image."""
        return self.thread_of or self.channel_id

    def to_rejection(self, stage: str, code: RejectCode, reason: str) -> "ImageRejected":
        """The fact that ends this image's way through the archive lane."""
        return ImageRejected(**self.identity, stage=stage, code=code, reason=reason)


class ImagePosted(ImageFact):
    """A member posted an image in a watched channel. Dimensions are pixels, `size` is bytes; both as Discord told them.

    The message is part of the key, so that a deleted message's images are found by one filter.
    """

    name: ClassVar[str] = "posted"

    message_id: Id
    author: Person
    posted_at: Instant
    filename: str
    message_link: str
    source: Source
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.message_id)


class ImageDownloaded(ImageFact):
    """The bytes as posted are in the blob store."""

    name: ClassVar[str] = "downloaded"

    blob: Sha256
    size: int


class ImagePreprocessed(ImageFact):
    """The picture as canonical RGB (lossless PNG) and a thumbnail (WebP) are in the blob store."""

    name: ClassVar[str] = "preprocessed"
    variant: ClassVar[Variant] = "preprocessing"

    pixels: Sha256
    thumbnail: Sha256
    width: int
    height: int
    format: str
    preprocessing: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.preprocessing)


class ImageEmbedded(ImageFact):
    """One generation's vector of the picture."""

    name: ClassVar[str] = "embedded"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    vector: Vector

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageFingerprinted(ImageFact):
    """What one generation knows the picture by besides its vector is in the blob store: its hash and its local features.

    `hash` is PDQ's 256 bits in hex and `quality` PDQ's figure (0 to 100; below 50 the hash says little); `features` counts the
    local features. `method` says how the blob was made: those of two methods are never compared.
    """

    name: ClassVar[str] = "fingerprinted"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    method: Id
    fingerprint: Sha256
    hash: Sha256
    quality: int
    features: int

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageIndexed(ImageFact):
    """The catalogue knows who posted the image, when and where, and holds its vector: the end of a good way."""

    name: ClassVar[str] = "indexed"
    variant: ClassVar[Variant] = "generation"

    generation: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageRejected(ImageFact):
    """The image can never be archived; `stage` and `code` say why, `reason` is a sentence."""

    name: ClassVar[str] = "rejected"

    stage: str
    code: RejectCode
    reason: str


class ImageReposted(ImageFact):
    """The image shows the same piece as one that was archived before: `same_as` is the earliest such post, by post time."""

    name: ClassVar[str] = "reposted"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    same_as: Id
    score: float

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageRemoved(ImageFact):
    """A tombstone: every projection forgets the image and never takes it back. It is all that the log keeps of the image.

    `deleted` on Discord, or `forgotten` at a person's wish. It shares its key with ImagePosted, so that the server itself refuses
    the post of a removed image.
    """

    name: ClassVar[str] = "removed"

    message_id: Id
    removed_at: Instant
    cause: Literal["deleted", "forgotten"]

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.message_id)


class ImageResurfaced(ImageFact):
    """A stage that was at work on the image when it was removed recorded one more fact, `late`: there is more to erase."""

    name: ClassVar[str] = "resurfaced"

    late: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.late)
