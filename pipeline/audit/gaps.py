"""A gap: images that are missing somewhere, and the commands that close it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

MAX_SINGLE_COMMANDS = 20
"""So many images are named one by one; more of them are a matter for a command that goes over everything."""


@dataclass(frozen=True, slots=True)
class Gap:
    """`kind` is a name for programs, `what` follows on "3 images"; `found` are the ids of what it is `of`."""

    kind: str
    what: str
    found: tuple[str, ...]
    commands: tuple[str, ...]
    of: str = "image"


@dataclass(frozen=True, slots=True)
class MissingImages:
    """Images that should have come further by a stage's work."""

    kind: str
    what: str
    stage: str
    images: Collection[str]


def format_image_replay(stage: str) -> Callable[[str], str]:
    """The command that plays a stage again for one image."""
    return lambda image_id: f"mapseek replay --stage {stage} --image {image_id}"


def format_full_replay(stage: str, guild: str | None) -> str:
    """The command that plays a stage again over everything: what is there already is recorded once."""
    if stage == "persist":
        return "mapseek rebuild catalogue"
    return f"mapseek replay --stage {stage}" + (f" --guild {guild}" if guild else "")


def split_missing(
    missing: MissingImages, waiting: Collection[str], letters: Mapping[str, str], guild: str | None = None
) -> tuple[set[str], list[Gap]]:
    """The images that are on the way after all, and the gaps: those that a dead letter explains, and those that stand still."""
    on_the_way = {image for image in missing.images if image in waiting}
    left = sorted(image for image in missing.images if image not in on_the_way)
    buried = [image for image in left if image in letters]
    still = [image for image in left if image not in letters]
    gaps = []
    if buried:
        every = f"mapseek failures retry --stage {missing.stage}" + (f" --guild {guild}" if guild else "")
        retries = choose_commands(buried, lambda image: f"mapseek failures retry {letters[image]}", every)
        what = f"{missing.what}: given up as dead letters"
        gaps.append(Gap(f"{missing.kind}-dead-letter", what, tuple(buried), retries))
    if still:
        commands = choose_commands(still, format_image_replay(missing.stage), format_full_replay(missing.stage, guild))
        gaps.append(Gap(missing.kind, missing.what, tuple(still), commands))
    return on_the_way, gaps


def choose_commands(found: Collection[str], of_one: Callable[[str], str], of_many: str) -> tuple[str, ...]:
    """One command for each, or one for all where they are many."""
    return tuple(map(of_one, found)) if len(found) <= MAX_SINGLE_COMMANDS else (of_many,)


def unique(commands: Iterable[str]) -> tuple[str, ...]:
    """The commands in order, each once."""
    return tuple(dict.fromkeys(commands))
