"""All metrics of a process. Their labels are the stage (`embed`) and the lane (`image`, `search`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STAGE_LABELS = ("stage", "lane")


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"mapseek_{name}", text, (*STAGE_LABELS, *more), registry=self.registry)

        self.received = counter("messages_received", "Messages delivered to the stage, redeliveries included.")
        self.succeeded = counter("messages_succeeded", "Messages whose facts are recorded and which are acknowledged.")
        self.retried = counter("messages_retried", "Messages put back to be delivered again later.")
        self.rejected = counter("messages_rejected", "Messages that ended in a rejected fact.", "code")
        self.dead_lettered = counter("messages_dead_lettered", "Messages that ended in the FAILURES log.")
        self.held = counter("messages_held", "Times that a message waited because a dependency was down.", "dependency")
        self.already_recorded = counter("facts_already_recorded", "Facts that were recorded before: the work was done twice.")
        self.duration = Histogram(
            "mapseek_message_duration_seconds",
            "From delivery to acknowledgement.",
            STAGE_LABELS,
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.in_flight = Gauge("mapseek_messages_in_flight", "Messages being worked on.", STAGE_LABELS, registry=self.registry)
        self._oldest = Gauge(
            "mapseek_oldest_message_seconds",
            "How long the oldest message is being worked on.",
            STAGE_LABELS,
            registry=self.registry,
        )
        self._begun: dict[tuple[str, str], dict[object, float]] = {}
        self.posts_lost = Counter("mapseek_posted_images_lost", "Posted images that could not be recorded.", registry=self.registry)
        self.malformed_discord_events = Counter(
            "mapseek_discord_events_malformed", "Gateway events that could not be read.", registry=self.registry
        )

    @contextmanager
    def track_message(self, labels: tuple[str, str]) -> Iterator[None]:
        """Count a message of a stage and lane as being worked on, for the time of the `with`."""
        if labels not in self._begun:
            self._begun[labels] = {}
            self._oldest.labels(*labels).set_function(lambda: self.measure_oldest(*labels))
        message = object()
        self._begun[labels][message] = monotonic()
        try:
            with self.in_flight.labels(*labels).track_inprogress():
                yield
        finally:
            del self._begun[labels][message]

    def measure_oldest(self, stage: str, lane: str) -> float:
        """Return for how many seconds the oldest message is being worked on; 0 if there is none."""
        begun = self._begun.get((stage, lane))
        return monotonic() - min(begun.values()) if begun else 0.0

    def measure_all_oldest(self) -> dict[tuple[str, str], float]:
        """Return the same for each stage and lane that has worked on a message."""
        return {labels: self.measure_oldest(*labels) for labels in self._begun}
