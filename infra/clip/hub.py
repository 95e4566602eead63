"""Where the weights of a pretrained tag lie: in the local cache, or on the model hub, asked once and not for long."""

import os
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from contracts.errors import MapSeekError

PATIENCE = 5.0
"""Seconds in which the hub must answer at all, before a download is begun. Its own client would retry for most of a minute."""


def weights_of(model: str, tag: str, source: dict[str, Any]) -> Path:
    """The file of a tag's weights, downloaded if need be. `source` is open_clip's configuration of the tag.

    Raises MapSeekError when the hub cannot be reached or does not give the file.
    """
    cached = _cached(source.get("hf_hub", ""))
    if cached is not None:
        return cached
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE)
        return Path(open_clip.download_pretrained(source))
    except Exception as error:
        raise MapSeekError(
            f"The weights {tag!r} of {model} could not be downloaded from the model hub ({type(error).__name__}): "
            "check the network, or download them elsewhere and give the checkpoint file in MAPSEEK_PRETRAINED."
        ) from error


def _cached(hub_path: str) -> Path | None:
    repository, name = os.path.split(hub_path)
    names = (str(Path(name).with_suffix(".safetensors")), name) if name else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    for candidate in names:
        found = huggingface_hub.try_to_load_from_cache(repository, candidate) if repository else None
        if isinstance(found, str):
            return Path(found)
    return None
