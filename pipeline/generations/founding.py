"""The first generation, which the first process that embeds founds; and the refusal of settings that name another model since."""

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import GenerationActivated, GenerationStarted
from contracts.generations import Generations
from contracts.ports import Encoder, Journal
from infra.clip.shipped import shipped_tag
from infra.nats.projections import FollowedGenerations
from pipeline.clock import utc_now
from pipeline.generations.encoders import Encoders
from pipeline.settings import Settings
from stages.fingerprint import METHOD

FIRST = "g1"


async def ensure_founded(
    generations: FollowedGenerations, encoders: Encoders, journal: Journal, preprocessing: str, settings: Settings
) -> None:
    """See to it that there is a generation. Raises MapSeekError when the settings name a model that the archive does not know."""
    if generations.now.active is not None:
        if encoders.opens_what_settings_name:
            check_settings(generations.now, settings)
        return
    encoder = await encoders.first()
    await journal.record(started(FIRST, encoder.encoder, settings.model, settings.pretrained, preprocessing), Origin(FIRST))
    known = await generations.until(lambda now: FIRST in now.known)
    # Another process may have been first, with another model: what is activated is what was recorded.
    await journal.record(activated(known, FIRST), Origin(FIRST))
    await generations.until(lambda now: now.active is not None)
    await encoders.adopt_if_fits(known.known[FIRST], encoder)


def started(name: str, encoder: Encoder, model: str, pretrained: str | None, preprocessing: str) -> GenerationStarted:
    """The fact that begins a generation of this encoder's vectors. The number format is the last word of its id."""
    return GenerationStarted(
        generation=name,
        encoder=encoder.id,
        digest=encoder.digest,
        preprocessing=preprocessing,
        dimensions=encoder.dimensions,
        model=model,
        pretrained=pretrained or shipped_tag(model),
        precision=encoder.id.rpartition("/")[2],
        started_at=utc_now(),
        fingerprint=METHOD,
    )


def activated(generations: Generations, name: str) -> GenerationActivated:
    """The fact that makes a known generation the one that answers."""
    generation = generations.known[name]
    return GenerationActivated(
        number=len(generations.activations) + 1,
        generation=name,
        encoder=generation.encoder,
        digest=generation.digest,
        preprocessing=generation.preprocessing,
        dimensions=generation.dimensions,
        fingerprint=generation.fingerprint,
    )


def check_settings(generations: Generations, settings: Settings) -> None:
    """Raises MapSeekError when the settings name a model that no generation was ever made with.

    The one of an earlier generation is no mistake: whoever changes the model by a replay need not touch the settings. Nor is a
    default: where nothing is set, an archive goes on with what it was begun with, whatever a new release would begin one with.
    """
    if not settings.model_fields_set & {"model", "pretrained"}:
        return
    wished = settings.model, settings.pretrained or shipped_tag(settings.model)
    known = {(each.model, each.pretrained) for each in generations.known.values()}
    if wished in known:
        return
    active = generations.active
    uses = f"{active.model} ({active.pretrained or 'untrained'})" if active else "none"
    raise MapSeekError(
        f"MAPSEEK_MODEL and MAPSEEK_PRETRAINED name {settings.model} ({wished[1] or 'untrained'}), but this archive "
        f"answers with {uses}: set them back, and change the model with `mapseek replay --encoder {settings.model}`."
    )
