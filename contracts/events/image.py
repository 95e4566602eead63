"""The archive lane: what happened to one posted image, kept for ever."""

from typing import ClassVar, Literal

from contracts.errors import RejectCode
from contracts.events.base import Fact, Family, Id, Instant, Person, Sha256, Source, Vector


class ImageFact(Fact):
    """Something that happened to an image: its id is the attachment's snowflake, or message id plus position for an embed."""

    family: ClassVar[Family] = "image"

    guild_id: Id
    channel_id: Id
    image_id: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.image_id)

    def rejected(self, stage: str, code: RejectCode, reason: str) -> "ImageRejected":
        """The fact that ends this image's way through the archive lane."""
        return ImageRejected(
            guild_id=self.guild_id, channel_id=self.channel_id, image_id=self.image_id, stage=stage, code=code, reason=reason
        )


class ImagePosted(ImageFact):
    """A member posted an image in a watched channel. Dimensions are pixels, `size` is bytes; both as Discord told them."""

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


class ImageDownloaded(ImageFact):
    """The bytes as posted are in the blob store."""

    name: ClassVar[str] = "downloaded"

    blob: Sha256
    size: int


class ImagePreprocessed(ImageFact):
    """The picture as canonical RGB (lossless PNG) and a thumbnail (WebP) are in the blob store."""

    name: ClassVar[str] = "preprocessed"

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

    generation: Id
    vector: Vector

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageIndexed(ImageFact):
    """The catalogue knows who posted the image, when and where, and holds its vector: the end of a good way."""

    name: ClassVar[str] = "indexed"

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


class ImageRemoved(ImageFact):
    """A tombstone: every projection forgets the image and never takes it back."""

    name: ClassVar[str] = "removed"

    removed_at: Instant
    cause: Literal["deleted", "forgotten"]
