"""The first generation, which the first process that embeds founds; and the refusal of settings that name another model since.

Which generation answers is one fact: recorded here, followed by every process, and taken back by another one.

Finding the generation that an owner names.

What a generation is made of may be of a release that is newer than this one.
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
    """See to it that there is a generation. Raises MapSeekError when the settings name a model that the archive does not know."""
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
    # Another process may have been first, with another model: what is activated is what was recorded.
    await journal.record(build_generation_activated(known, INITIAL_GENERATION), Origin(INITIAL_GENERATION))
    await generations.until(lambda now: now.active is not None)
    await encoders.adopt_if_fits(known.known[INITIAL_GENERATION], encoder)


def build_generation_started(
    name: str, encoder: Encoder, model: str, pretrained: str | None, preprocessing: str
) -> GenerationStarted:
    """The fact that begins a generation of this encoder's vectors. The number format is the last word of its id."""
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
    wished = settings.model, settings.pretrained or find_shipped_tag(settings.model)
    known = {(each.model, each.pretrained) for each in generations.known.values()}
    if wished in known:
        return
    active = generations.active
    uses = f"{active.model} ({active.pretrained or 'untrained'})" if active else "none"
    raise MapSeekError(
        f"MAPSEEK_MODEL and MAPSEEK_PRETRAINED name {settings.model} ({wished[1] or 'untrained'}), but this archive "
        f"answers with {uses}: set them back, and change the model with `mapseek replay --encoder {settings.model}`."
    )


def find_generation(generations: Generations, name: str) -> Generation:
    """The generation of that name, dropped or not. Raises MapSeekError where there never was one."""
    if name not in generations.known:
        names = ", ".join(each.name for each in generations.alive) or "none yet"
        raise MapSeekError(f"There is no generation {name!r}: there is {names}.")
    return generations.known[name]


def find_alive_generation(generations: Generations, name: str) -> Generation:
    """The generation of that name. Raises MapSeekError where there is none, or no more."""
    generation = find_generation(generations, name)
    if name in generations.dropped:
        raise MapSeekError(f"Generation {name} was dropped: build another one with `mapseek replay --encoder MODEL`.")
    return generation


async def activate(client: Client, journal: Journal, generations: FollowedGenerations, name: str, *, force: bool = False) -> int:
    """Let searches be answered from a generation from now on; returns how many images are missing in it.

    Raises MapSeekError when there is no such generation, when it answers already, and when images are missing or no process has its
    model at hand, unless that is to be by `force`.
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
        raise MapSeekError("Somebody else changed the active generation at this moment: look at `mapseek generations`.")
    now = await generations.until(lambda now: len(now.activations) >= fact.number)
    if name in now.dropped:
        raise MapSeekError(f"Somebody dropped generation {name} at this moment: searches are answered as before.")
    return missing


def find_earlier_generation(generations: Generations) -> Generation:
    """What a rollback activates. Raises MapSeekError when there is nothing to go back to."""
    active = generations.active
    before = generations.find_previous(active.name) if active else None
    if before is None:
        raise MapSeekError("There is no earlier generation to go back to: none was active before, or it was dropped.")
    return before


async def _refuse_incomplete(client: Client, generations: Generations, generation: Generation, missing: int) -> None:
    if missing:
        raise MapSeekError(
            f"Generation {generation.name} lacks {format_count(missing, 'image')}, not to be found any more then: finish it with "
            f"`mapseek replay --name {generation.name}`, or do without them with --force."
        )
    for durable in plan_consumers(STAGES, generations):
        if durable.stage == "persist" and durable.generation == generation:
            waiting = await count_unsettled(client, durable)
            if waiting:
                raise MapSeekError(
                    f"{format_count(waiting, 'vector')} of generation {generation.name} must still get into the catalogue: wait a "
                    "moment, or activate it with --force."
                )


async def _refuse_unloaded(client: Client, generation: Generation) -> None:
    """While processes answer questions, one of them must have the model: loading it takes seconds in which nobody is answered."""
    if await find_idle_stages(client, [embed.STAGE], "search"):
        return
    if await find_idle_stages(client, [embed.STAGE], "image", generation=generation.name):
        raise MapSeekError(
            f"No running process has loaded the model of generation {generation.name} ({encoder_label(generation.encoder)}): "
            "look into their logs, or activate it with --force."
        )


def refuse_unknown_version(generation: Generation) -> None:
    """Raises MapSeekError for a generation of pictures that this release cannot make."""
    if generation.preprocessing not in preprocess.PREPROCESSORS:
        raise MapSeekError(
            f"Generation {generation.name} is made of pictures preprocessed as {generation.preprocessing}, which this release does "
            f"not know: start the newer one that made it, or give it up with `mapseek drop {generation.name}`."
        )


def refuse_unknown_method(generation: Generation) -> None:
    """Raises MapSeekError for a generation of fingerprints that this release cannot make."""
    if generation.fingerprint not in fingerprint.KNOWN_METHODS:
        raise MapSeekError(
            f"Generation {generation.name} knows pictures by fingerprints of method {generation.fingerprint}, which this release "
            f"cannot make: start the newer one that made it, or give it up with `mapseek drop {generation.name}`."
        )
