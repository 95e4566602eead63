"""The text tower of an open_clip model: words to vectors that lie near those of pictures of them. Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch

PROMPT_TEMPLATE = "a picture of {words}"
"""CLIP was trained on captions: a lone word is at odds with what it saw, and a plain sentence around it finds more (Radford et al.
2021, 3.1.4: 1.3 % more of ImageNet by "A photo of a {label}."). Map art is no photo, and is of every style, so that the template
says no more than that it is a picture."""


@dataclass(frozen=True, slots=True)
class TextTower:
    """A text tower ready to run, in float32, since it runs once a question."""

    clip: torch.nn.Module
    tokenize: Callable[[str], torch.Tensor]
    device: torch.device

    @torch.inference_mode()
    def vector(self, text: str) -> torch.Tensor:
        """Words to their (dimensions,) float32 vector of length 1 on the CPU; very long texts are cut off."""
        encode: Callable[[torch.Tensor], torch.Tensor] = self.clip.encode_text  # type: ignore[assignment]
        features = encode(self.tokenize(PROMPT_TEMPLATE.format(words=text)).to(self.device))
        return torch.nn.functional.normalize(features.float(), dim=-1)[0].cpu()


def take_text_tower(clip: torch.nn.Module, model: str, device: torch.device) -> TextTower | None:
    """The text tower of a trained model, from which its vision tower is taken away; None where it has none that can be used here.

    Tokenizers other than CLIP's own have to be downloaded, so that the models which need one have no words. Nor has a model whose
    vocabulary is too small to be more than a stand-in.
    """
    text: dict[str, Any] = (open_clip.get_model_config(model) or {}).get("text_cfg", {})
    if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        return None
    tokenize = open_clip.get_tokenizer(model)
    if text.get("vocab_size", tokenize.vocab_size) < tokenize.vocab_size:
        return None
    del clip.visual
    return TextTower(clip.eval().requires_grad_(False).to(device), tokenize, device)
