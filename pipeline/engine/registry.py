"""The stages, in the order in which an image or a search passes through them."""

from typing import Any

from contracts.errors import MapSeekError
from contracts.stage import Stage
from stages import alert, download, embed, erase, fingerprint, judge, link, match, notify, persist, preprocess, remove, reply

STAGES: tuple[Stage[Any], ...] = (
    download.STAGE,
    preprocess.STAGE,
    fingerprint.STAGE,
    embed.STAGE,
    persist.STAGE,
    link.STAGE,
    match.STAGE,
    reply.STAGE,
    judge.STAGE,
    alert.STAGE,
    notify.STAGE,
    remove.STAGE,
    erase.STAGE,
)


def find_stages(names: list[str]) -> list[Stage[Any]]:
    """Return the stages with these names, each once. Raises MapSeekError for a name that no stage has."""
    known = {stage.name: stage for stage in STAGES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MapSeekError(f"There is no stage {unknown[0]!r}: choose from {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]
