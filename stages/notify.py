"""The stage notify: marks reposts if the guild wants that, and notifies members whose alert was triggered.

Replay-safe: a repost is marked only while it is recent, so that neither a replay nor a back-fill sends notices. If two generations
record the same repost, only the first fact in the log counts. A member is notified only while the alert is open, and once for each
image. Two cases remain: a process that dies after the notice and before the record sends it again, and two processes with two
images for one alert at the same moment both send one. For a few minutes Discord itself drops such a second message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from contracts.errors import Retry
from contracts.events import AlertDelivered, AlertTriggered, Fact, ImageReposted
from contracts.ports import Alerts, Catalogue, CatalogueEntry, Document, Journal, Notice, Notifier, StateStore, is_hidden
from contracts.stage import Stage
from contracts.state import GuildSettings, read_document
from contracts.subjects import settings_key

MAX_REPOST_AGE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Deps:
    """`now` is the clock, by which old reposts are skipped."""

    notifier: Notifier
    state: StateStore
    catalogue: Catalogue
    journal: Journal
    alerts: Alerts
    now: Callable[[], datetime]


async def handle(event: ImageReposted | AlertTriggered, deps: Deps) -> Sequence[Fact]:
    """Send the notice if it is wanted and allowed now. Raises Retry and Unavailable from the ports."""
    if isinstance(event, AlertTriggered):
        return await _notify_person(event, deps)
    await _mark_repost(event, deps)
    return ()


async def _mark_repost(event: ImageReposted, deps: Deps) -> None:
    settings = await read_document(deps.state, settings_key(event.guild_id), GuildSettings) or GuildSettings()
    if settings.repost_notice == "none":
        return
    first = await deps.journal.fetch_first(ImageReposted, event.guild_id, event.image_id)
    if first is not None and first.generation != event.generation:
        return
    entries = await deps.catalogue.entries([event.image_id, event.same_as])
    post, earlier = _get_post(entries, event.image_id), _get_post(entries, event.same_as)
    if (
        post is None
        or earlier is None
        or deps.now() - datetime.fromisoformat(post["metadata"]["upload_timestamp"]) >= MAX_REPOST_AGE
    ):
        return
    # A reply links the earlier post, so everybody who sees it must be allowed to read that post. A reaction reveals nothing.
    style: Literal["reaction", "reply"] = "reaction"
    if settings.repost_notice == "reply" and await _same_readers(event.guild_id, post, earlier, deps):
        style = "reply"
    await deps.notifier.mark_repost(Notice(event.guild_id, post, earlier, event.score, settings.locale or ""), style)


async def _same_readers(guild_id: str, post: Document, earlier: Document, deps: Deps) -> bool:
    """Whether all readers of the new post may read the earlier one: it is in the same channel, or in one that is open to all."""
    if _audience_channel(post) == _audience_channel(earlier):
        return True
    channel_id = earlier["metadata"]["channel_id"]
    return await deps.notifier.may_read(guild_id, channel_id, guild_id, age_restricted=False)


def _get_post(entries: Mapping[str, CatalogueEntry], image_id: str) -> Document | None:
    """Return an image's document if it has the data of the post."""
    entry = entries.get(image_id)
    return entry.document if entry is not None and "metadata" in entry.document else None


def _audience_channel(document: Document) -> Any:
    metadata = document["metadata"]
    return metadata.get("thread_of") or metadata["channel_id"]


async def _notify_person(event: AlertTriggered, deps: Deps) -> Sequence[Fact]:
    if await deps.journal.holds(AlertDelivered, *event.key):
        return ()
    still_open = await deps.alerts.list_open(event.guild_id, event.person.id)
    if all(alert.alert_id != event.alert_id for alert in still_open):
        return ()
    post = _get_post(await deps.catalogue.entries([event.image_id], with_hidden=True), event.image_id)
    if post is None and not await deps.catalogue.is_removed(event.image_id):
        raise Retry(f"image {event.image_id} matches an alert, but its post is not catalogued yet")
    if post is None or is_hidden(post) or not await _may_see(event, post, deps):
        return (_build_delivered(event, "withheld"),)
    notice = Notice(event.guild_id, post, None, event.score, event.locale)
    return (_build_delivered(event, await deps.notifier.notify_person(notice, event.person, event.channel_id, event.alert_id)),)


async def _may_see(event: AlertTriggered, document: Document, deps: Deps) -> bool:
    channel_id = document["metadata"]["channel_id"]
    return await deps.notifier.may_read(event.guild_id, channel_id, event.person.id, age_restricted=event.age_restricted)


def _build_delivered(event: AlertTriggered, outcome: Literal["direct", "mention", "withheld", "undeliverable"]) -> AlertDelivered:
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
