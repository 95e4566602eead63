"""Alerts: a picture that was not found, and someone who wants to be told if it turns up. Kept until they are forgotten."""

from typing import ClassVar, Literal

from contracts.events.base import Fact, Family, Id, Instant, Person, Sha256, Variant, Vector
from contracts.events.search import Calibration


class AlertFact(Fact):
    """Something that happened to an alert: its id is that of the search, or of the press for one more after it ended.

    The person is part of the key, so that all of a person's alerts are erased by one filter.
    """

    family: ClassVar[Family] = "alert"

    guild_id: Id
    alert_id: Id
    person: Person

    @property
    def key(self) -> tuple[str, ...]:
        return (self.guild_id, self.alert_id, self.person.id)


class AlertRequested(AlertFact):
    """A member wants to be told when the picture of a search turns up. `age_restricted` is whether they asked in such a channel."""

    name: ClassVar[str] = "requested"

    search_id: Id
    channel_id: Id
    locale: str
    age_restricted: bool
    requested_at: Instant


class AlertSet(AlertFact):
    """From now on every archived image is compared with the picture `pixels`, whose vector is of one generation."""

    name: ClassVar[str] = "set"

    channel_id: Id
    locale: str
    age_restricted: bool
    requested_at: Instant
    pixels: Sha256
    generation: Id
    vector: Vector
    calibration: Calibration


class AlertEmbedded(AlertFact):
    """The picture's vector in another generation than the one that the alert was set in."""

    name: ClassVar[str] = "embedded"
    variant: ClassVar[Variant] = "generation"

    generation: Id
    vector: Vector
    calibration: Calibration

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.generation)


class AlertTriggered(AlertFact):
    """An image that matches was posted."""

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
    """The person was told `direct`ly, or by a `mention` where they asked, which ends the alert.

    An image that they may not see is `withheld`; one of which Discord lets us not tell them is `undeliverable`. The alert goes on.
    """

    name: ClassVar[str] = "delivered"

    image_id: Id
    outcome: Literal["direct", "mention", "withheld", "undeliverable"]

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.image_id)


class AlertCancelled(AlertFact):
    """The person does not want to be told any more."""

    name: ClassVar[str] = "cancelled"

    cancelled_at: Instant
