"""Looking facts up by filter. Each fact has a subject of its own, so the last message of every subject is all there is."""

from collections.abc import Sequence

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from contracts.errors import Malformed
from contracts.events import Fact
from infra.nats.wire import read


async def subjects_under(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[str], int]:
    """The subjects that match and have a message, and where the log ended at the least when they were listed.

    Raises nats-py's errors when the server cannot be reached.
    """
    infos = [await js.stream_info(stream, subjects_filter=each) for each in filters]
    return [subject for info in infos for subject in info.state.subjects or {}], infos[0].state.last_seq


async def facts_under(js: JetStreamContext, stream: str, filters: Sequence[str]) -> tuple[list[Fact], int]:
    """The facts on the subjects that match, in the order of the log, and up to where none is missing.

    Those that this version cannot read are left out. Raises nats-py's errors when the server cannot be reached.
    """
    subjects, until = await subjects_under(js, stream, filters)
    messages = [await message_on(js, stream, subject) for subject in subjects]
    in_order = sorted((message for message in messages if message is not None), key=lambda message: message.seq or 0)
    return [fact for message in in_order if (fact := _fact(message)) is not None], until


async def message_on(js: JetStreamContext, stream: str, subject: str) -> RawStreamMsg | None:
    """The last message on a subject, None where there is none. Raises nats-py's errors when the server cannot be reached."""
    try:
        return await js.get_last_msg(stream, subject)
    except NotFoundError:
        return None


async def last_on(js: JetStreamContext, stream: str, subjects: str) -> int:
    """The sequence of the last message on some subjects, 0 where there is none. Raises nats-py's errors as the others do."""
    message = await message_on(js, stream, subjects)
    return 0 if message is None else message.seq or 0


def _fact(message: RawStreamMsg) -> Fact | None:
    try:
        return read(message.subject or "", message.headers, message.data or b"").fact
    except Malformed:
        return None
