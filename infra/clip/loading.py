"""Load open_clip models: build them, find or download their weights, and select device and precision. Imports torch."""

import difflib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from PIL import Image

from contracts.errors import MapSeekError
from infra.clip.calibration import FINE_UNTRAINED_MODEL, UNTRAINED
from infra.clip.shipped import MODELS_FOLDER, SMALL_MODEL, find_shipped_file, is_missing_checkpoint, list_shipped_tags
from infra.clip.torchvision_ops import declare_operators

declare_operators()

import open_clip  # noqa: E402  (only works after the operators are declared)
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME  # noqa: E402
from open_clip.factory import load_state_dict  # noqa: E402
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402

import infra.clip.tower  # noqa: E402, F401  (registers our own tower in timm)
from infra.clip.text_tower import TextTower, take_text_tower  # noqa: E402

MAX_FILTER_PATCHES = 8
"""An untrained filter consists of at most this many random patches across and down, however large its kernel."""

PREPROCESSING_OVERRIDES = {FINE_UNTRAINED_MODEL: {"resize_mode": "squash"}, SMALL_MODEL: {"resize_mode": "squash"}}
"""Preprocessing of our own models, where it differs from CLIP's, which sees only the square in the middle of a picture."""

HUB_TIMEOUT_S = 5.0
"""Before a download starts, the hub must answer within this time. Its own client would retry for most of a minute."""

UNTRAINED_SEED = 20_11_2026


open_clip.add_model_config(MODELS_FOLDER)


def build_seeded_model(name: str, seed: int, source: dict[str, Any] | None = None) -> Any:
    """Build a model with seeded random weights, without changing torch's global random state.

    `source` is open_clip's configuration of the weights that the model is for. Raises MapSeekError if it cannot be built.
    """
    source = source or {}
    with torch.random.fork_rng(devices=[]), silence_open_clip():
        torch.manual_seed(seed)
        try:
            return open_clip.create_model(
                name,
                pretrained_text=False,
                force_quick_gelu=bool(source.get("quick_gelu")),
                force_preprocess_cfg=source or PREPROCESSING_OVERRIDES.get(name),
            )
        except Exception as error:
            raise MapSeekError(f"open_clip cannot build {name} here ({error}): choose another MAPSEEK_MODEL.") from error


def broaden_filters(visual: torch.nn.Module) -> None:
    """Make the random filters of the first layer broad and of mean zero.

    So they respond to the layout of a picture, and not to its grain or light. Measured on the small untrained tower: 100 % instead
    of 84 % of pictures that are 30 % darker are found.
    """
    first = next(layer for layer in visual.modules() if isinstance(layer, torch.nn.Conv2d))
    height, width = first.weight.shape[2:]
    side = min(MAX_FILTER_PATCHES, height, width)
    with torch.no_grad():
        coarse = torch.nn.functional.adaptive_avg_pool2d(first.weight, side) * (height / side)
        broad = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
        first.weight.copy_(broad - broad.mean((2, 3), keepdim=True))


@contextmanager
def silence_open_clip() -> Iterator[None]:
    """Suppress open_clip's warnings about random weights, which are intended here. It logs directly to the root logger."""
    root = logging.getLogger()

    def is_foreign(record: logging.LogRecord) -> bool:
        return "open_clip" not in record.pathname

    root.addFilter(is_foreign)
    try:
        yield
    finally:
        root.removeFilter(is_foreign)


def fetch_weights(model: str, tag: str, source: dict[str, Any]) -> Path:
    """Return the weights file of a tag, from the local cache or downloaded. `source` is open_clip's configuration of the tag.

    Raises MapSeekError if the hub cannot be reached or does not deliver the file.
    """
    cached = _find_in_cache(source.get("hf_hub", ""))
    if cached is not None:
        return cached
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
        return Path(open_clip.download_pretrained(source))
    except Exception as error:
        raise MapSeekError(
            f"The weights {tag!r} of {model} could not be downloaded from the model hub ({type(error).__name__}): "
            "check the network, or download them elsewhere and set MAPSEEK_PRETRAINED to the checkpoint file."
        ) from error


def _find_in_cache(hub_path: str) -> Path | None:
    repository, name = os.path.split(hub_path)
    names = (str(Path(name).with_suffix(".safetensors")), name) if name else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    for candidate in names:
        found = huggingface_hub.try_to_load_from_cache(repository, candidate) if repository else None
        if isinstance(found, str):
            return Path(found)
    return None


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision tower ready to run. It turns pictures into float32 vectors (n, dimensions) of length 1 on the CPU.

    `text_tower` is the text tower of the same model, if the model is trained and has one.
    """

    name: str
    digest: str
    dimensions: int
    device: torch.device
    dtype: torch.dtype
    visual: torch.nn.Module
    transform: Callable[[Image.Image], torch.Tensor]
    text_tower: TextTower | None

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Turn an RGB picture into a float32 tensor (3, side, side) with the model's own preprocessing."""
        return self.transform(image)

    @torch.inference_mode()
    def vectors(self, prepared: list[torch.Tensor]) -> torch.Tensor:
        """Return the vectors of prepared pictures, from one run of the tower."""
        batch = torch.stack(prepared).to(self.device, self.dtype)
        features = self.visual(batch)
        if isinstance(features, tuple):  # CoCa's tower returns its tokens too
            features = features[0]
        return torch.nn.functional.normalize(features.float(), dim=-1).cpu()


def load_tower(model: str, pretrained: str | None, *, device: str, precision: str) -> Tower:
    """Load a vision tower. Raises MapSeekError for a name, tag, file, device or precision that cannot be used."""
    name = _resolve_model_name(model)
    tag, checkpoint, source = _resolve_weights(name, pretrained)
    where = _choose_device(device)
    number_format = _choose_precision(precision, where)
    clip = build_seeded_model(name, UNTRAINED_SEED, source)
    if checkpoint is None:
        broaden_filters(clip.visual)
    else:
        _load_checkpoint(clip, name, checkpoint)
    visual = clip.visual.eval().requires_grad_(False)
    digest = _compute_digest(visual)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[number_format]
    transform = image_transform_v2(PreprocessCfg(**visual.preprocess_cfg), is_train=False)
    dimensions = int(open_clip.get_model_config(name)["embed_dim"])
    text_tower = None if checkpoint is None else take_text_tower(clip, name, where)
    encoder_id = f"open_clip/{name}/{tag}/{number_format}"
    return Tower(encoder_id, digest, dimensions, where, dtype, visual.to(where, dtype), transform, text_tower)


def _resolve_model_name(model: str) -> str:
    name = model.replace("/", "-")
    known = open_clip.list_models()
    if name in known:
        return name
    lower = {each.lower(): each for each in known}
    close = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    hint = f"did you mean {', '.join(close)}" if close else "open_clip.list_models() lists all"
    raise MapSeekError(f"open_clip has no model called {model!r} ({hint}): correct MAPSEEK_MODEL.")


def _resolve_weights(model: str, pretrained: str | None) -> tuple[str, Path | None, dict[str, Any]]:
    """Return the name of the weights, their file (None: seeded random ones), and open_clip's configuration if they are a tag."""
    if pretrained is None:
        return UNTRAINED, None, {}
    if shipped := find_shipped_file(model, pretrained):
        return pretrained, shipped, {}
    source = open_clip.get_pretrained_cfg(model, pretrained)
    if source:
        return pretrained, fetch_weights(model, pretrained, source), source
    path = Path(pretrained).expanduser()
    if path.is_file():
        return path.name, path, {}
    if is_missing_checkpoint(pretrained):
        raise MapSeekError(f"There is no checkpoint file {pretrained}: correct the path in MAPSEEK_PRETRAINED.")
    tags = list_shipped_tags(model) or open_clip.list_pretrained_tags_by_model(model)
    close = difflib.get_close_matches(pretrained, tags, n=3, cutoff=0.3) or tags[:3]
    known = f"it has {', '.join(close)}{' and more' if len(tags) > len(close) else ''}" if tags else "it has none"
    raise MapSeekError(
        f"{model} has no pretrained tag {pretrained!r} ({known}): correct MAPSEEK_PRETRAINED, or set it to a checkpoint file."
    )


def _load_checkpoint(clip: torch.nn.Module, model: str, path: Path) -> None:
    try:
        if path.suffix != ".npz":  # the files of big_vision, which open_clip reads in another way
            load_state_dict(str(path))
    except Exception as error:
        raise MapSeekError(
            f"The file {path} is not a checkpoint that open_clip can read ({type(error).__name__}): "
            "set MAPSEEK_PRETRAINED to another one."
        ) from error
    try:
        with silence_open_clip():
            open_clip.load_checkpoint(clip, str(path))
    except Exception as error:
        raise MapSeekError(
            f"The file {path} has the weights of another architecture than {model}: set MAPSEEK_MODEL to the model they belong to."
        ) from error


def _compute_digest(visual: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(visual.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _choose_device(wanted: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, here in available.items() if here))
    if not available.get(wanted, False):
        raise MapSeekError(f"torch finds no device {wanted!r} on this machine: set MAPSEEK_DEVICE to auto or cpu.")
    return torch.device(wanted)


def _choose_precision(wanted: str, device: torch.device) -> str:
    if wanted == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if wanted != "fp32" and device.type == "cpu":
        raise MapSeekError(f"{wanted} is several times slower than fp32 on a CPU: set MAPSEEK_PRECISION to auto or fp32.")
    return wanted
