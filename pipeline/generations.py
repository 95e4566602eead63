"""Which generation of vectors is active, and the refusal to mix two encoders in one."""

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import GenerationActivated
from contracts.ports import Encoder, Journal
from contracts.subjects import kind_filter, stream_of
from infra.nats.wire import read

FIRST = "g1"


async def active_generation(client: Client) -> GenerationActivated | None:
    """The last activation on the log, or None on a new installation."""
    try:
        message = await client.jetstream().get_last_msg(stream_of(GenerationActivated), kind_filter(GenerationActivated))
    except NotFoundError:
        return None
    fact = read(message.subject or "", message.headers, message.data or b"").fact
    return fact if isinstance(fact, GenerationActivated) else None


async def generation_for(client: Client, journal: Journal, encoder: Encoder, preprocessing: str) -> str:
    """The generation that this encoder's vectors belong to; the first encoder ever opened founds the first one.

    Raises MapSeekError when the archive was embedded with another encoder, whose vectors must never meet this one's.
    """
    active = await active_generation(client)
    if active is None:
        founded = GenerationActivated(
            number=1,
            generation=FIRST,
            encoder=encoder.id,
            digest=encoder.digest,
            preprocessing=preprocessing,
            dimensions=encoder.dimensions,
        )
        await journal.record(founded, Origin("generation-1"))
        active = await active_generation(client) or founded
    if (active.encoder, active.digest, active.preprocessing) != (encoder.id, encoder.digest, preprocessing):
        raise MapSeekError(
            f"This archive was embedded with {active.encoder} ({active.digest[:12]}), but {encoder.id} ({encoder.digest[:12]}) "
            "is configured: set MAPSEEK_MODEL and MAPSEEK_PRETRAINED back, or use another MAPSEEK_DATA_DIR."
        )
    return active.generation
