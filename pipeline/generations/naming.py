"""Finding the generation that an owner names."""

from contracts.errors import MapSeekError
from contracts.generations import Generation, Generations


def known(generations: Generations, name: str) -> Generation:
    """The generation of that name, dropped or not. Raises MapSeekError where there never was one."""
    if name not in generations.known:
        names = ", ".join(each.name for each in generations.alive) or "none yet"
        raise MapSeekError(f"There is no generation {name!r}: there is {names}.")
    return generations.known[name]


def living(generations: Generations, name: str) -> Generation:
    """The generation of that name. Raises MapSeekError where there is none, or no more."""
    generation = known(generations, name)
    if name in generations.dropped:
        raise MapSeekError(f"Generation {name} was dropped: build another one with `mapseek replay --encoder MODEL`.")
    return generation
