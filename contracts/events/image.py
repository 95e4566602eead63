"""Facts about posted images (the archive lane). They are kept until the image is removed."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from contracts.errors import RejectCode
from contracts.events.base import Fact, Family, Id, Instant, Person, PostLink, Sha256, Source, Text, Variant, Vector


class ImageFact(Fact):
    """Something that happened to an image.

    `image_id` is the snowflake of the attachment, or message id and position for an embed. `thread_of` is the parent channel of a
    public thread or forum post: whoever may read that channel may read the thread, even after the thread was archived. It is None
    in a private thread, since only the thread's members may read it.
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
        """The fields that identify the image, as keyword arguments for the next fact about it."""
        return {
            "guild_id": self.guild_id,
            "channel_id": self.channel_id,
            "image_id": self.image_id,
            "thread_of": self.thread_of,
        }

    @property
    def audience_channel_id(self) -> str:
        """The channel whose readers may see the image: the parent channel of a public thread, else the channel itself."""
        return self.thread_of or self.channel_id

    def to_rejection(self, stage: str, code: RejectCode, reason: str) -> "ImageRejected":
        """Build the fact that ends the processing of this image."""
        return ImageRejected(**self.identity, stage=stage, code=code, reason=reason)


class ImagePosted(ImageFact):
    """A member posted an image in a watched channel. `width` and `height` are pixels, `size` is bytes, all as reported by Discord.

    `spoiler`: the post covers the image until the reader asks for it.
    The message is part of the key, so that one filter finds the images of a deleted message.
    """

    name: ClassVar[str] = "posted"

    message_id: Id
    author: Person
    posted_at: Instant
    filename: Text
    message_link: PostLink
    source: Source
    content_type: Text | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    spoiler: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.message_id)


class ImageDownloaded(ImageFact):
    """The original file is in the blob store."""

    name: ClassVar[str] = "downloaded"

    blob: Sha256
    size: int


class ImagePreprocessed(ImageFact):
    """The canonical RGB picture (lossless PNG) and a thumbnail (WebP) are in the blob store."""

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
    """The picture's vector in one generation."""

    name: ClassVar[str] = "embedded"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    vector: Vector

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageFingerprinted(ImageFact):
    """The picture's fingerprint in one generation, its hash and local features, is in the blob store.

    `hash` is the 256-bit PDQ hash in hex. `quality` is PDQ's quality (0 to 100; below 50 the hash says little). `features` counts
    the local features. `method` is how the blob was made; fingerprints of different methods are never compared.
    """

    name: ClassVar[str] = "fingerprinted"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    method: Id
    fingerprint: Sha256
    hash: Sha256
    quality: int = Field(ge=0, le=100)
    features: int = Field(ge=0)

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageIndexed(ImageFact):
    """The catalogue has the post's data (who, when, where) and the vector: the image can be found now."""

    name: ClassVar[str] = "indexed"
    variant: ClassVar[Variant] = "generation"

    generation: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageRejected(ImageFact):
    """The image can never be archived. `stage` and `code` say where and why, `reason` is a sentence."""

    name: ClassVar[str] = "rejected"

    stage: str
    code: RejectCode
    reason: Text


class ImageReposted(ImageFact):
    """The image shows the same piece as an earlier post. `same_as` is the earliest such image by post time."""

    name: ClassVar[str] = "reposted"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    same_as: Id
    score: float

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class ImageTurn(ImageFact):
    """Whether the message shows the image, from now on.

    An edit hides an image and another shows it again, so there are several such facts about one image: `turn` counts them. The
    fact with the highest `rank` says what holds now, in whatever order they are read. Without one, the image is shown as posted.
    """

    message_id: Id
    turn: int = Field(ge=1, lt=2**31)

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.message_id, str(self.turn))

    @property
    def rank(self) -> tuple[int, bool]:
        """The place of this fact among those about the same image: by turn; in one turn, shown comes after hidden."""
        return self.turn, isinstance(self, ImageShown)


class ImageHidden(ImageTurn):
    """The message does not show the image any more: nobody finds it, until it is shown again or removed."""

    name: ClassVar[str] = "hidden"

    hidden_at: Instant


class ImageShown(ImageTurn):
    """The message shows the image again, or still shows it, now as a spoiler or as none any more."""

    name: ClassVar[str] = "shown"

    shown_at: Instant
    spoiler: bool = False


class ImageRemoved(ImageFact):
    """A tombstone: every projection deletes the image and never adds it again. Nothing else of the image stays in the log.

    `cause`: the image was `deleted` on Discord, or `forgotten` because a person asked for it. `expired`: its message stayed, but
    did not show it for a week. The fact shares its key with ImagePosted, so that the NATS server refuses to record the post of a
    removed image.
    """

    name: ClassVar[str] = "removed"

    message_id: Id
    removed_at: Instant
    cause: Literal["deleted", "forgotten"]
    expired: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.message_id)


class ImageResurfaced(ImageFact):
    """A stage recorded one more fact about the image after its removal. There is more to erase; `late` is the name of that fact."""

    name: ClassVar[str] = "resurfaced"

    late: Id

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.late)
