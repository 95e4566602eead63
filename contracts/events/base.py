"""What every fact has in common: frozen, versioned by its class, and about one entity of one guild."""

import base64
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

Family = Literal["image", "search", "alert", "removal", "generation", "incident"]

Variant = Literal["generation", "preprocessing"]
"""What an entity may have several facts of one kind for."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id that is safe as a subject token. A string, since snowflakes do not fit a JSON number."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The name of a blob: the lower-case hex digest of its bytes."""


def _vector_bytes(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Vector = Annotated[
    bytes,
    BeforeValidator(_vector_bytes),
    PlainSerializer(lambda value: base64.b64encode(value).decode("ascii"), return_type=str, when_used="json"),
    Field(min_length=4, json_schema_extra={"contentEncoding": "base64"}),
]
"""An L2-normalised embedding: little-endian float32 components, one after the other; base64 in JSON."""


class Payload(BaseModel):
    """A value inside a fact. Unknown fields are ignored, so that an older process reads a newer fact."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Fact(Payload):
    """Something that happened. Its name is a past participle; a field with a default is not a new version, anything else is."""

    family: ClassVar[Family]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    variant: ClassVar[Variant | None] = None
    """The field that is the last token of the key, where an entity has one such fact for each generation or preprocessing."""

    @property
    @abstractmethod
    def key(self) -> tuple[str, ...]:
        """The subject tokens that make this fact unique among its kind: guild, entity and, where there is one, variant.

        The variant is what may differ between two facts of one kind about one entity: a preprocessing version or a generation.
        """

    @classmethod
    def type_name(cls) -> str:
        """`image.posted`: the name by which people and CloudEvents know this kind of fact."""
        return f"{cls.family}.{cls.name}"


class Person(Payload):
    """Who posted or asked."""

    id: Id
    name: str


class DiscordFile(Payload):
    """An image on Discord's CDN. The URL is signed and expires: a hint, refreshed from the message when refused."""

    kind: Literal["discord"] = "discord"
    url: str
    channel_id: Id | None = None
    message_id: Id | None = None
    attachment_id: Id | None = None


class StoredFile(Payload):
    """An image whose bytes are already a blob (the command line puts them there)."""

    kind: Literal["stored"] = "stored"
    blob: Sha256


Quad = tuple[float, float, float, float, float, float, float, float]
"""The corners x, y of a quadrilateral in a picture, clockwise from the one that is the top left of what it shows, as fractions of
the picture's width and height; a corner may lie outside, below 0 or above 1."""

Source = Annotated[DiscordFile | StoredFile, Field(discriminator="kind")]

Instant = AwareDatetime
"""A moment with its offset; facts carry UTC."""

__all__ = [
    "DiscordFile",
    "Fact",
    "Family",
    "Id",
    "Instant",
    "Payload",
    "Person",
    "Quad",
    "Sha256",
    "Source",
    "StoredFile",
    "Variant",
    "Vector",
]
