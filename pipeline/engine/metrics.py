"""All metrics of a process. Their labels are the stage (`embed`) and the lane (`image`, `search`)."""

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
        self.posts_lost = Counter("mapseek_posted_images_lost", "Posted images that could not be recorded.", registry=self.registry)
        self.malformed_discord_events = Counter(
            "mapseek_discord_events_malformed", "Gateway events that could not be read.", registry=self.registry
        )
