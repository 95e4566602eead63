"""Notify: a repost is marked where a guild wants that, and a person is told that what they wait for turned up.

Replay-safe: a repost is marked only while it is young, so that neither replay nor back-fill speaks up, and of the facts that two
generations record of it the first in the log alone counts. A person is told only while the alert is open and that image was not
told yet. What remains: a process that dies between telling and recording tells again, and so do two that tell of two images for
one alert at once; for a few minutes Discord itself drops such a second message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from contracts.errors import Retry
from contracts.events import AlertDelivered, AlertTriggered, Fact, ImageReposted
from contracts.ports import Alerts, Catalogue, CatalogueEntry, Document, Journal, Notice, Notifier, StateStore
from contracts.stage import Stage
from contracts.state import GuildSettings, read_document
from contracts.subjects import settings_key

MAX_REPOST_AGE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Deps:
    """Who speaks, what about, and the clock that says when it is too late for a word on a repost."""

    notifier: Notifier
    state: StateStore
    catalogue: Catalogue
    journal: Journal
    alerts: Alerts
    now: Callable[[], datetime]


async def handle(event: ImageReposted | AlertTriggered, deps: Deps) -> Sequence[Fact]:
    """Speak up if that is wanted and allowed now. Raises Retry and Unavailable as the ports do."""
    if isinstance(event, AlertTriggered):
        return await _tell(event, deps)
    await _mark(event, deps)
    return ()


async def _mark(event: ImageReposted, deps: Deps) -> None:
    settings = await read_document(deps.state, settings_key(event.guild_id), GuildSettings) or GuildSettings()
    if settings.repost_notice == "none":
        return
    first = await deps.journal.fetch_first(ImageReposted, event.guild_id, event.image_id)
    if first is not None and first.generation != event.generation:
        return
    entries = await deps.catalogue.entries([event.image_id, event.same_as])
    post, earlier = _posted(entries, event.image_id), _posted(entries, event.same_as)
    if (
        post is None
        or earlier is None
        or deps.now() - datetime.fromisoformat(post["metadata"]["upload_timestamp"]) >= MAX_REPOST_AGE
    ):
        return
    # A reply names the earlier post, so it is for those alone who may read it; a reaction names nothing.
    style: Literal["reaction", "reply"] = "reaction"
    if settings.repost_notice == "reply" and await _same_readers(event.guild_id, post, earlier, deps):
        style = "reply"
    await deps.notifier.mark_repost(Notice(event.guild_id, post, earlier, event.score, settings.locale or ""), style)


async def _same_readers(guild_id: str, post: Document, earlier: Document, deps: Deps) -> bool:
    """Whether everybody who reads the new post may read the earlier one: it lies in the same channel, or in one open to all."""
    if _audience(post) == _audience(earlier):
        return True
    channel_id = earlier["metadata"]["channel_id"]
    return await deps.notifier.may_read(guild_id, channel_id, guild_id, age_restricted=False)


def _posted(entries: Mapping[str, CatalogueEntry], image_id: str) -> Document | None:
    """An image's document once it says who posted it, when and where."""
    entry = entries.get(image_id)
    return entry.document if entry is not None and "metadata" in entry.document else None


def _audience(document: Document) -> Any:
    metadata = document["metadata"]
    return metadata.get("thread_of") or metadata["channel_id"]


async def _tell(event: AlertTriggered, deps: Deps) -> Sequence[Fact]:
    if await deps.journal.holds(AlertDelivered, *event.key):
        return ()
    still_open = await deps.alerts.list_open(event.guild_id, event.person.id)
    if all(alert.alert_id != event.alert_id for alert in still_open):
        return ()
    post = _posted(await deps.catalogue.entries([event.image_id]), event.image_id)
    if post is None and not await deps.catalogue.is_removed(event.image_id):
        raise Retry(f"image {event.image_id} matches an alert, but its post has not been catalogued yet")
    if post is None or not await _may_see(event, post, deps):
        return (_delivered(event, "withheld"),)
    notice = Notice(event.guild_id, post, None, event.score, event.locale)
    return (_delivered(event, await deps.notifier.notify_person(notice, event.person, event.channel_id, event.alert_id)),)


async def _may_see(event: AlertTriggered, document: Document, deps: Deps) -> bool:
    channel_id = document["metadata"]["channel_id"]
    return await deps.notifier.may_read(event.guild_id, channel_id, event.person.id, age_restricted=event.age_restricted)


def _delivered(event: AlertTriggered, outcome: Literal["direct", "mention", "withheld", "undeliverable"]) -> AlertDelivered:
    return AlertDelivered(
        guild_id=event.guild_id, alert_id=event.alert_id, person=event.person, image_id=event.image_id, outcome=outcome
    )


STAGE = Stage(
    name="notify",
    consumes=(ImageReposted, AlertTriggered),
    emits=(AlertDelivered,),
    handle=handle,
    deps=Deps,
    attempts=12,
    live_only=True,
)
