"""The consumers of a stream, of which the server tells a page at a time."""

from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo


async def consumers_of(js: JetStreamContext, stream: str) -> list[ConsumerInfo]:
    """All of them, by name. Raises nats-py's errors when the server cannot be reached."""
    infos: list[ConsumerInfo] = []
    while page := await js.consumers_info(stream, offset=len(infos)):
        infos += page
    return sorted(infos, key=lambda info: info.name)
