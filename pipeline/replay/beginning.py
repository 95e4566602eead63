"""Beginning a generation of what today's release makes with an encoder, or joining in with whoever is building that very one."""

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import ImagePreprocessed
from contracts.generations import Generation, Generations
from contracts.ports import ImageEncoder
from contracts.subjects import IMAGES, variant_filter
from infra.nats.connection import Client
from infra.nats.projections import read_generations
from infra.nats.reader import count_of
from pipeline.generations.encoders import makes, said
from pipeline.generations.lifecycle import started
from pipeline.process import Process
from stages.fingerprint import METHOD
from stages.preprocess import PREPROCESSING


def unused_name(generations: Generations) -> str:
    """`g` and the number after the highest that was ever used."""
    numbers = [int(name[1:]) for name in generations.known if name[:1] == "g" and name[1:].isdigit()]
    return f"g{max(numbers, default=0) + 1}"


def to_join(generations: Generations, encoder: ImageEncoder, name: str | None) -> Generation | None:
    """The generation of these very vectors that is being built.

    Raises MapSeekError where there can be nothing new, and for a name that cannot be taken.
    """
    for generation in generations.alive:
        if makes(encoder, generation) and (generation.preprocessing, generation.fingerprint) == (PREPROCESSING, METHOD):
            if generations.serves(generation.name):
                raise MapSeekError(
                    f"Generation {generation.name} has these very vectors ({said(generation.encoder)}): there is nothing to build. "
                    f"`mapseek replay --name {generation.name}` makes up for what it lacks."
                )
            if name not in (None, generation.name):
                raise MapSeekError(
                    f"These very vectors are being built already: join in with `mapseek replay --name {generation.name}`."
                )
            return generation
    if name is not None and name in generations.known:
        raise MapSeekError(f"The name {name} was used before, and a name is used once: `{unused_name(generations)}` is free.")
    return None


async def begin(process: Process, encoder: ImageEncoder, model: str, pretrained: str | None, name: str | None) -> Generation:
    """Start a generation of an encoder's vectors, or join in with who did. Raises MapSeekError as `to_join` does."""
    wiring = process.wiring
    generations = await wiring.generations()
    # What is followed may lag behind another process that has just begun: the log itself is asked, once for both answers.
    there = await read_generations(wiring.client)
    generation = to_join(there, encoder, name)
    if generation is None:
        await require_pictures(wiring.client)
        name = name or unused_name(there)
        fact = started(name, encoder.encoder, model, pretrained, PREPROCESSING)
        await wiring.journal.record(fact, Origin(name))
        # Another process may have been first, with another model: then the name is taken after all.
        now = await generations.until(lambda now: name in now.known)
        generation = to_join(now, encoder, name) or now.known[name]
    else:
        await generations.until(lambda now: generation.name in now.known)
    await wiring.encoders.adopt_if_fits(generation, encoder)
    return generation


async def require_pictures(client: Client) -> int:
    """How many pictures there are to embed. Raises MapSeekError where there is none."""
    pictures = await count_of(client, IMAGES, [variant_filter(ImagePreprocessed, PREPROCESSING)])
    if not pictures:
        raise MapSeekError(
            f"No picture of preprocessing {PREPROCESSING} is archived: post some, or play `mapseek replay --stage "
            "preprocess` first."
        )
    return pictures
