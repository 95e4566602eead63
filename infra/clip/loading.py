"""An open_clip vision tower by name and weights, on the right device, in the right precision. Imports torch."""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from contracts.errors import MapSeekError
from infra.clip.calibration import UNTRAINED
from infra.clip.checkpoints import is_missing
from infra.clip.shipped import shipped_file, shipped_tags
from infra.clip.torchvision_ops import declare_missing

declare_missing()

import open_clip  # noqa: E402  (only after the operators are declared)
from open_clip.factory import load_state_dict  # noqa: E402
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402

from infra.clip.building import quiet, see_layout, seeded_model  # noqa: E402
from infra.clip.hub import weights_of  # noqa: E402
from infra.clip.words import Words, words_of  # noqa: E402

SEED = 20_11_2026


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision tower ready to run: pictures to (n, dimensions) float32 vectors of length 1 on the CPU.

    `words` is the text tower beside it, if the model is trained and has one.
    """

    name: str
    digest: str
    dimensions: int
    device: torch.device
    dtype: torch.dtype
    visual: torch.nn.Module
    transform: Callable[[Image.Image], torch.Tensor]
    words: Words | None

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """CLIP's own preprocessing: an RGB picture to a (3, side, side) float32 tensor."""
        return self.transform(image)

    @torch.inference_mode()
    def vectors(self, prepared: list[torch.Tensor]) -> torch.Tensor:
        """Prepared pictures to their vectors, in one run of the tower."""
        batch = torch.stack(prepared).to(self.device, self.dtype)
        features = self.visual(batch)
        if isinstance(features, tuple):  # CoCa's tower gives its tokens too
            features = features[0]
        return torch.nn.functional.normalize(features.float(), dim=-1).cpu()


def load_tower(model: str, pretrained: str | None, *, device: str, precision: str) -> Tower:
    """Load a tower. Raises MapSeekError for a name, tag, file, device or precision that cannot be used."""
    name = _known_model(model)
    tag, checkpoint, source = _weights(name, pretrained)
    where = _device(device)
    number_format = _precision(precision, where)
    clip = seeded_model(name, SEED, source)
    if checkpoint is None:
        see_layout(clip.visual)
    else:
        _load_checkpoint(clip, name, checkpoint)
    visual = clip.visual.eval().requires_grad_(False)
    digest = _digest(visual)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[number_format]
    transform = image_transform_v2(PreprocessCfg(**visual.preprocess_cfg), is_train=False)
    dimensions = int(open_clip.get_model_config(name)["embed_dim"])
    words = None if checkpoint is None else words_of(clip, name, where)
    return Tower(
        f"open_clip/{name}/{tag}/{number_format}", digest, dimensions, where, dtype, visual.to(where, dtype), transform, words
    )


def _known_model(model: str) -> str:
    name = model.replace("/", "-")
    known = open_clip.list_models()
    if name in known:
        return name
    lower = {each.lower(): each for each in known}
    close = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    hint = f"did you mean {', '.join(close)}" if close else "open_clip.list_models() names them all"
    raise MapSeekError(f"open_clip has no model called {model!r} ({hint}): correct MAPSEEK_MODEL.")


def _weights(model: str, pretrained: str | None) -> tuple[str, Path | None, dict[str, Any]]:
    """What to call the weights, their file (None: seeded random ones), and open_clip's configuration of the tag if it is one."""
    if pretrained is None:
        return UNTRAINED, None, {}
    if shipped := shipped_file(model, pretrained):
        return pretrained, shipped, {}
    source = open_clip.get_pretrained_cfg(model, pretrained)
    if source:
        return pretrained, weights_of(model, pretrained, source), source
    path = Path(pretrained).expanduser()
    if path.is_file():
        return path.name, path, {}
    if is_missing(pretrained):
        raise MapSeekError(f"There is no checkpoint file {pretrained}: correct the path in MAPSEEK_PRETRAINED.")
    tags = shipped_tags(model) or open_clip.list_pretrained_tags_by_model(model)
    close = difflib.get_close_matches(pretrained, tags, n=3, cutoff=0.3) or tags[:3]
    known = f"it has {', '.join(close)}{' and more' if len(tags) > len(close) else ''}" if tags else "it has none"
    raise MapSeekError(
        f"{model} has no pretrained tag {pretrained!r} ({known}): correct MAPSEEK_PRETRAINED or give a checkpoint file."
    )


def _load_checkpoint(clip: torch.nn.Module, model: str, path: Path) -> None:
    try:
        if path.suffix != ".npz":  # open_clip reads those, of big_vision, by another way
            load_state_dict(str(path))
    except Exception as error:
        raise MapSeekError(
            f"The file {path} is not a checkpoint that open_clip can read ({type(error).__name__}): "
            "give another one in MAPSEEK_PRETRAINED."
        ) from error
    try:
        with quiet():
            open_clip.load_checkpoint(clip, str(path))
    except Exception as error:
        raise MapSeekError(
            f"The file {path} holds the weights of another architecture than {model}: set MAPSEEK_MODEL to the one it was made for."
        ) from error


def _digest(visual: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(visual.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _device(wanted: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, here in available.items() if here))
    if not available.get(wanted, False):
        raise MapSeekError(f"torch finds no device {wanted!r} on this machine: set MAPSEEK_DEVICE to auto or cpu.")
    return torch.device(wanted)


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if wanted != "fp32" and device.type == "cpu":
        raise MapSeekError(f"{wanted} is several times slower than fp32 on a CPU: set MAPSEEK_PRECISION to auto or fp32.")
    return wanted
