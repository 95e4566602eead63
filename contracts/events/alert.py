"""Facts about alerts: a member wants to be notified when a picture is posted.

They are kept until the member asks to be forgotten.
"""

from typing import ClassVar, Literal

from contracts.events.base import Fact, Family, Id, Instant, Person, Sha256, Variant, Vector
from contracts.events.search import Calibration


class AlertFact(Fact):
    """Something that happened to an alert.

    `alert_id` is the id of the search. If that alert has ended and the member sets another one, it is the id of that interaction.
    The person is part of the key, so that one filter erases all alerts of a person.
    """

    family: ClassVar[Family] = "alert"

    guild_id: Id
    alert_id: Id
    person: Person

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.alert_id, self.person.id)


class AlertRequested(AlertFact):
    """A member wants to be notified when the picture of a search is posted.

    `age_restricted`: the member asked in an age-restricted channel.
    """

    name: ClassVar[str] = "requested"

    search_id: Id
    channel_id: Id
    locale: str
    age_restricted: bool
    requested_at: Instant


class AlertSet(AlertFact):
    """From now on every archived image is compared with the picture `pixels`. `vector` is its vector in `generation`.

    `spoiler`: the picture is never shown open.
    """

    name: ClassVar[str] = "set"

    channel_id: Id
    locale: str
    age_restricted: bool
    requested_at: Instant
    pixels: Sha256
    generation: Id
    vector: Vector
    calibration: Calibration
    spoiler: bool = False


class AlertEmbedded(AlertFact):
    """The picture's vector in another generation than the one in AlertSet."""

    name: ClassVar[str] = "embedded"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    vector: Vector
    calibration: Calibration

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class AlertTriggered(AlertFact):
    """An image that matches the alert's picture was posted."""

    name: ClassVar[str] = "triggered"

    image_id: Id
    score: float
    channel_id: Id
    locale: str
    age_restricted: bool

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.image_id)


class AlertDelivered(AlertFact):
    """What became of the notice. `direct` (a DM) and `mention` (in the channel where they asked) end the alert.

    `withheld`: the person may not see the image. `undeliverable`: Discord does not let us notify them. The alert stays open then.
    """

    name: ClassVar[str] = "delivered"

    image_id: Id
    outcome: Literal["direct", "mention", "withheld", "undeliverable"]

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.image_id)


class AlertCancelled(AlertFact):
    """The person no longer wants to be notified."""

    name: ClassVar[str] = "cancelled"

    cancelled_at: Instant
