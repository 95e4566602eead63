"""The text tower of an open_clip model: it turns words into vectors near those of pictures that show them. Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch

PROMPT_TEMPLATE = "a picture of {words}"
"""CLIP was trained on captions and has seldom seen single words, so a plain phrase around the words finds more (Radford et al.
2021, 3.1.4: "A photo of a {label}." gains 1.3 % on ImageNet). Map art is not a photo and has every style, so the template only says
that it is a picture.
"""


@dataclass(frozen=True, slots=True)
class TextTower:
    """A text tower ready to run. It uses float32, since it runs only once a query."""

    clip: torch.nn.Module
    tokenize: Callable[[str], torch.Tensor]
    device: torch.device

    @torch.inference_mode()
    def embed_text(self, text: str) -> torch.Tensor:
        """Return the vector of words: (dimensions,) float32 of length 1 on the CPU. Very long texts are cut off."""
        encode: Callable[[torch.Tensor], torch.Tensor] = self.clip.encode_text  # type: ignore[assignment]
        features = encode(self.tokenize(PROMPT_TEMPLATE.format(words=text)).to(self.device))
        return torch.nn.functional.normalize(features.float(), dim=-1)[0].cpu()


def take_text_tower(clip: torch.nn.Module, model: str, device: torch.device) -> TextTower | None:
    """Return the text tower of a trained model, and remove the vision tower from the model. None if no text tower is usable here.

    A text tower is not usable if it needs another tokenizer than CLIP's own, which would have to be downloaded, or if its
    vocabulary is so small that it is only a placeholder.
    """
    text: dict[str, Any] = (open_clip.get_model_config(model) or {}).get("text_cfg", {})
    if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        return None
    tokenize = open_clip.get_tokenizer(model)
    if text.get("vocab_size", tokenize.vocab_size) < tokenize.vocab_size:
        return None
    del clip.visual
    return TextTower(clip.eval().requires_grad_(False).to(device), tokenize, device)
