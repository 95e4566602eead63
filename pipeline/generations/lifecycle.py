"""The lifecycle of a generation: start the first one, find one by name, activate one, and refuse one that this release cannot
handle.

The active generation is decided by one fact, GenerationActivated. It is recorded here, every process follows it, and a rollback
records another one.
"""

from contracts.envelope import Origin
from contracts.errors import MapSeekError, format_count
from contracts.events import GenerationActivated, GenerationStarted
from contracts.generations import Generation, Generations
from contracts.ports import Encoder, Journal
from infra.clip.shipped import find_shipped_tag
from infra.nats.connection import Client
from infra.nats.projections import FollowedGenerations
from pipeline.clock import utc_now
from pipeline.engine.consumers import plan_consumers
from pipeline.engine.registry import STAGES
from pipeline.generations.encoders import Encoders, encoder_label
from pipeline.generations.progress import read_generation_progress
from pipeline.monitoring.status import count_unsettled, find_idle_stages
from pipeline.settings import Settings
from stages import embed, fingerprint, preprocess
from stages.fingerprint import DEFAULT_METHOD

INITIAL_GENERATION = "g1"


async def ensure_first_generation(
    generations: FollowedGenerations, encoders: Encoders, journal: Journal, preprocessing: str, settings: Settings
) -> None:
    """Start the first generation if there is none.

    Raises MapSeekError if the settings name a model that the archive does not know.
    """
    if generations.now.active is not None:
        if encoders.opens_by_settings:
            check_settings(generations.now, settings)
        return
    encoder = await encoders.open_first()
    await journal.record(
        build_generation_started(INITIAL_GENERATION, encoder.encoder, settings.model, settings.pretrained, preprocessing),
        Origin(INITIAL_GENERATION),
    )
    known = await generations.until(lambda now: INITIAL_GENERATION in now.known)
    # Another process may have been faster, with another model. So activate the generation that was recorded.
    await journal.record(build_generation_activated(known, INITIAL_GENERATION), Origin(INITIAL_GENERATION))
    await generations.until(lambda now: now.active is not None)
    await encoders.adopt_if_fits(known.known[INITIAL_GENERATION], encoder)


def build_generation_started(
    name: str, encoder: Encoder, model: str, pretrained: str | None, preprocessing: str
) -> GenerationStarted:
    """Build the fact that starts a generation with an encoder. The last part of the encoder's id is its number format."""
    return GenerationStarted(
        generation=name,
        encoder=encoder.id,
        digest=encoder.digest,
        preprocessing=preprocessing,
        dimensions=encoder.dimensions,
        model=model,
        pretrained=pretrained or find_shipped_tag(model),
        precision=encoder.id.rpartition("/")[2],
        started_at=utc_now(),
        fingerprint=DEFAULT_METHOD,
    )


def build_generation_activated(generations: Generations, name: str) -> GenerationActivated:
    """Build the fact that activates a known generation."""
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
    """Raise MapSeekError if the settings name a model that no generation was ever made with.

    The model of an earlier generation is allowed: after a replay with another model, nobody has to change the settings. So is a
    default: if no model is set, an archive keeps the model that it began with, whatever the default of a new release is.
    """
    if not settings.model_fields_set & {"model", "pretrained"}:
        return
    requested = settings.model, settings.pretrained or find_shipped_tag(settings.model)
    known = {(each.model, each.pretrained) for each in generations.known.values()}
    if requested in known:
        return
    active = generations.active
    uses = f"{active.model} ({active.pretrained or 'untrained'})" if active else "none"
    raise MapSeekError(
        f"MAPSEEK_MODEL and MAPSEEK_PRETRAINED name {settings.model} ({requested[1] or 'untrained'}), but this archive "
        f"answers with {uses}: set them back, and change the model with `mapseek replay --encoder {settings.model}`."
    )


def find_generation(generations: Generations, name: str) -> Generation:
    """Return the generation with this name, also if it is dropped. Raises MapSeekError if it never existed."""
    if name not in generations.known:
        names = ", ".join(each.name for each in generations.alive) or "none yet"
        raise MapSeekError(f"There is no generation {name!r}: there is {names}.")
    return generations.known[name]


def find_alive_generation(generations: Generations, name: str) -> Generation:
    """Return the generation with this name. Raises MapSeekError if it does not exist or is dropped."""
    generation = find_generation(generations, name)
    if name in generations.dropped:
        raise MapSeekError(f"Generation {name} was dropped: build another one with `mapseek replay --encoder MODEL`.")
    return generation


async def activate(client: Client, journal: Journal, generations: FollowedGenerations, name: str, *, force: bool = False) -> int:
    """Answer searches from a generation from now on. Return how many images are missing in it.

    Raises MapSeekError if there is no such generation or if it is active already. Without `force`, also raises it if images are
    missing, or if no running process has loaded the model.
    """
    generation = find_alive_generation(generations.now, name)
    if generations.now.active == generation:
        raise MapSeekError(f"Generation {name} is the active one already.")
    missing = (await read_generation_progress(client, generation)).missing
    if not force:
        await _refuse_incomplete(client, generations.now, generation, missing)
        await _refuse_unloaded(client, generation)
    fact = build_generation_activated(generations.now, name)
    if not await journal.record(fact, Origin(name)):
        raise MapSeekError("Somebody else changed the active generation at the same time: look at `mapseek generations`.")
    now = await generations.until(lambda now: len(now.activations) >= fact.number)
    if name in now.dropped:
        raise MapSeekError(f"Somebody dropped generation {name} at the same time: searches are answered as before.")
    return missing


def find_earlier_generation(generations: Generations) -> Generation:
    """Return the generation that a rollback activates. Raises MapSeekError if there is none."""
    active = generations.active
    before = generations.find_previous(active.name) if active else None
    if before is None:
        raise MapSeekError("There is no earlier generation to go back to: none was active before, or it was dropped.")
    return before


async def _refuse_incomplete(client: Client, generations: Generations, generation: Generation, missing: int) -> None:
    if missing:
        raise MapSeekError(
            f"Generation {generation.name} lacks {format_count(missing, 'image')}, which searches would not find any more: "
            f"finish it with `mapseek replay --name {generation.name}`, or activate it without them with --force."
        )
    for durable in plan_consumers(STAGES, generations):
        if durable.stage == "persist" and durable.generation == generation:
            waiting = await count_unsettled(client, durable)
            if waiting:
                raise MapSeekError(
                    f"{format_count(waiting, 'vector')} of generation {generation.name} are not in the catalogue yet: wait a "
                    "moment, or activate it with --force."
                )


async def _refuse_unloaded(client: Client, generation: Generation) -> None:
    """Raise MapSeekError if processes answer searches and none of them has loaded the model.

    Loading takes seconds, in which nobody would get an answer.
    """
    if await find_idle_stages(client, [embed.STAGE], "search"):
        return
    if await find_idle_stages(client, [embed.STAGE], "image", generation=generation.name):
        raise MapSeekError(
            f"No running process has loaded the model of generation {generation.name} ({encoder_label(generation.encoder)}): "
            "look into their logs, or activate it with --force."
        )


def refuse_unknown_version(generation: Generation) -> None:
    """Raise MapSeekError for a generation with a preprocessing that this release does not know."""
    if generation.preprocessing not in preprocess.PREPROCESSORS:
        raise MapSeekError(
            f"Generation {generation.name} uses the preprocessing {generation.preprocessing}, which this release does not know: "
            f"start the newer release that made it, or erase it with `mapseek drop {generation.name}`."
        )


def refuse_unknown_method(generation: Generation) -> None:
    """Raise MapSeekError for a generation with a fingerprint method that this release does not know."""
    if generation.fingerprint not in fingerprint.KNOWN_METHODS:
        raise MapSeekError(
            f"Generation {generation.name} uses the fingerprint method {generation.fingerprint}, which this release does not know: "
            f"start the newer release that made it, or erase it with `mapseek drop {generation.name}`."
        )
