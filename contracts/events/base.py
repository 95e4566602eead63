"""The base class of all facts and the field types they share. A fact is frozen, versioned by its class, and about one entity."""

import base64
import re
from abc import abstractmethod
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

from contracts.text import replace_surrogates

Family = Literal["image", "search", "alert", "removal", "generation", "incident"]

Variant = Literal["generation", "preprocessing"]
"""By what several facts of one kind about one entity may differ."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id that is safe as a token of a subject. It is a string, since a snowflake does not fit a JSON number."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The name of a blob: the SHA-256 of its bytes in lower-case hex."""


def _replace_surrogates(value: object) -> object:
    return replace_surrogates(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_replace_surrogates)]
"""Text from outside, such as a name. What UTF-8 cannot hold is escaped, so that it never stops the fact around it."""


_WEB_ADDRESS = r'^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f-\xa0<>"\u200e\u200f\u2028-\u202e\u2066-\u2069]+$'

WebAddress = Annotated[Text, StringConstraints(pattern=_WEB_ADDRESS)]
"""Where a file can be fetched. Discord has https only, the simulator http.

It has no space, no control character, and nothing that changes the direction of text or ends an attribute of HTML.
"""

PostLink = Annotated[str, StringConstraints(pattern=r"^(https?|file)://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]+$")]
"""The link of a post that people are shown: its message, or the file that the command line archived. No other scheme is a link.

It has the characters of RFC 3986 without brackets, so that nothing ends it in HTML or in Markdown.
"""


def is_web_address(text: str) -> bool:
    """Whether the text may be a WebAddress."""
    return re.fullmatch(_WEB_ADDRESS, text) is not None


def _vector_bytes(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _check_floats(value: bytes) -> bytes:
    if len(value) % 4:
        raise ValueError("a vector has 4 bytes for each number")
    return value


Vector = Annotated[
    bytes,
    BeforeValidator(_vector_bytes),
    PlainSerializer(lambda value: base64.b64encode(value).decode("ascii"), return_type=str, when_used="json"),
    Field(min_length=4, json_schema_extra={"contentEncoding": "base64"}),
    AfterValidator(_check_floats),
]
"""An L2-normalised embedding as little-endian float32 bytes; base64 in JSON."""


class Payload(BaseModel):
    """A value inside a fact. Unknown fields are ignored, so that an older process can read a newer fact."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Fact(Payload):
    """Something that happened. Its name is a past participle.

    Adding a field with a default keeps the version. Any other change of the fields makes a new version.
    """

    family: ClassVar[Family]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    variant: ClassVar[Variant | None] = None
    """The field that is the last token of the key, if an entity has one such fact for each generation or preprocessing."""

    @property
    @abstractmethod
    def key(self) -> tuple[str, ...]:
        """The subject tokens that make this fact unique among its kind: guild, entity and, if there is one, variant.

        Two facts of one kind about one entity differ in their variant: a preprocessing version or a generation.
        """

    @classmethod
    def type_name(cls) -> str:
        """The name of this kind of fact for people and in CloudEvents, such as `image.posted`."""
        return f"{cls.family}.{cls.name}"


class Person(Payload):
    """The Discord user who posted or asked."""

    id: Id
    name: Text


class DiscordFile(Payload):
    """An image on Discord's CDN. The signed URL expires; if Discord refuses it, a new one is read from the message."""

    kind: Literal["discord"] = "discord"
    url: WebAddress
    channel_id: Id | None = None
    message_id: Id | None = None
    attachment_id: Id | None = None


class StoredFile(Payload):
    """An image whose bytes are already in the blob store; the command line puts them there."""

    kind: Literal["stored"] = "stored"
    blob: Sha256


Quad = tuple[float, float, float, float, float, float, float, float]
"""The four corners (x, y) of a quadrilateral in a picture, as fractions of its width and height.

They go clockwise, starting at the top left of what the quadrilateral shows. A corner may lie outside the picture: below 0 or above
1.
"""

Source = Annotated[DiscordFile | StoredFile, Field(discriminator="kind")]


def _check_year(value: datetime) -> datetime:
    if not MINYEAR < value.year < MAXYEAR:
        raise ValueError("a time in the first or last year of the calendar has no time in every time zone")
    return value


Instant = Annotated[AwareDatetime, AfterValidator(_check_year)]
"""A time with its offset. Facts carry UTC."""

__all__ = [
    "DiscordFile",
    "Fact",
    "Family",
    "Id",
    "Instant",
    "Payload",
    "Person",
    "PostLink",
    "Quad",
    "Sha256",
    "Source",
    "StoredFile",
    "Text",
    "Variant",
    "Vector",
    "WebAddress",
    "is_web_address",
]
