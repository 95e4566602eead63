"""A gap: images that are missing somewhere, and the commands that close it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

MAX_SINGLE_COMMANDS = 20
"""Up to so many images each get a command of their own. For more of them, one command handles everything."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is missing or left over. The field names are keys of `--json`.

    `kind` is a name for programs. `found` are ids, and `of` says of what: images, blobs or processes. `what` continues a sentence
    that begins with "3 images".
    """

    kind: str
    what: str
    found: tuple[str, ...]
    commands: tuple[str, ...]
    of: str = "image"


@dataclass(frozen=True, slots=True)
class MissingImages:
    """Images that lack something that a stage should have made."""

    kind: str
    what: str
    stage: str
    images: Collection[str]


def format_image_replay(stage: str) -> Callable[[str], str]:
    """Return a function that formats the command to replay a stage for one image."""
    return lambda image_id: f"mapseek replay --stage {stage} --image {image_id}"


def format_full_replay(stage: str, guild: str | None) -> str:
    """Format the command to replay a stage for everything. This is harmless: facts that exist are not recorded again."""
    if stage == "persist":
        return "mapseek rebuild catalogue"
    return f"mapseek replay --stage {stage}" + (f" --guild {guild}" if guild else "")


def split_missing(
    missing: MissingImages, waiting: Collection[str], letters: Mapping[str, str], guild: str | None = None
) -> tuple[set[str], list[Gap]]:
    """Split the missing images: return those that a stage has yet to work on, and gaps for the rest.

    One gap is for images with a dead letter, one for images that nothing will work on.
    """
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
    """Return one command for each, or one command for all if there are many."""
    return tuple(map(of_one, found)) if len(found) <= MAX_SINGLE_COMMANDS else (of_many,)


def unique(commands: Iterable[str]) -> tuple[str, ...]:
    """Return the commands in order, each once."""
    return tuple(dict.fromkeys(commands))
