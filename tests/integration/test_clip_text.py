"""Encoding words with the real torch: small open_clip models with random weights are saved, and loaded like trained ones."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import Reject, RejectCode, Unavailable
from infra.clip.calibration import UNTRAINED_MODEL, find_encoder_calibration, find_text_calibration
from infra.clip.encoder import open_encoder
from infra.clip.shipped import SMALL_MODEL
from infra.sandbox.art.generate import draw_piece
from infra.vision import distortions

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 32, "width": 64, "head_width": 64, "layers": 1},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
}


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., tuple[Any, Path]]:
    """Return a function that builds a small open_clip model from TINY and some changes, and saves a checkpoint of it."""
    import torch

    from infra.clip.loading import open_clip

    def make(name: str, **changes: Any) -> tuple[Any, Path]:
        text = TINY["text_cfg"] | changes.pop("text", {})  # type: ignore[operator]
        (tmp_path / f"{name}.json").write_text(json.dumps(TINY | {"text_cfg": text} | changes))
        open_clip.add_model_config(tmp_path)
        torch.manual_seed(2)
        model = open_clip.create_model(name).eval()
        torch.save(model.state_dict(), tmp_path / f"{name}.pt")
        return model, tmp_path / f"{name}.pt"

    return make


@pytest.mark.parametrize("custom_text", [False, True])
async def test_text_vectors_equal_those_of_open_clip(make_model: Callable[..., tuple[Any, Path]], custom_text: bool) -> None:
    import torch

    from infra.clip.loading import open_clip

    model, path = make_model(f"tiny-{custom_text}", custom_text=custom_text)
    encoder = await open_encoder(f"tiny-{custom_text}", str(path), device="cpu", batch_size=2)
    texts = ["a red dragon", "Drache, rot 🐉", "", "very " * 200 + "long"]
    with torch.inference_mode():
        expected = model.encode_text(
            open_clip.get_tokenizer("ViT-B-32")([f"a picture of {text}" for text in texts]), normalize=True
        ).numpy()
    pictures = asyncio.gather(*(encoder.encode(distortions.encode_png(draw_piece(seed)), urgent=False) for seed in range(6)))
    encoded = await asyncio.gather(*(encoder.encode_text(text) for text in texts))
    assert np.allclose([np.frombuffer(vector, "<f4") for vector in encoded], expected, atol=1e-6)
    assert {len(vector) for vector in await pictures} == {len(vector) for vector in encoded} == {4 * 16}
    await encoder.close()
    with pytest.raises(Unavailable):
        await encoder.encode_text("a red dragon")


async def test_a_model_without_a_usable_text_tower_rejects_words(make_model: Callable[..., tuple[Any, Path]]) -> None:
    _, small = make_model("tiny-vocabulary", text={"vocab_size": 64})
    make_model("tiny-words")
    _, foreign = make_model("tiny-foreign", text={"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"})
    opened = [
        await open_encoder("tiny-vocabulary", str(small)),
        await open_encoder("tiny-foreign", str(foreign)),
        await open_encoder("tiny-words", None),
        await open_encoder(UNTRAINED_MODEL, None),
        await open_encoder(SMALL_MODEL, None),
    ]
    for each in opened:
        with pytest.raises(Reject, match=r"not words, so /find-text is not available here\. ViT-B-32 is one") as refused:
            await each.encode_text("a red dragon")
        assert refused.value.code is RejectCode.NO_TEXT
    await asyncio.gather(*(each.close() for each in opened))


async def test_loading_the_text_tower_does_not_change_the_models_digest(make_model: Callable[..., tuple[Any, Path]]) -> None:
    import torch

    model, path = make_model("tiny-words")
    with_words = await open_encoder("tiny-words", str(path), device="cpu")
    for name, weight in model.named_parameters():
        if not name.startswith("visual."):
            weight.data += 1
    torch.save(model.state_dict(), path)
    other_words = await open_encoder("tiny-words", str(path), device="cpu")
    assert with_words.encoder == other_words.encoder
    assert await with_words.encode_text("a") != await other_words.encode_text("a")
    await asyncio.gather(with_words.close(), other_words.close())


async def test_the_calibration_of_an_encoder_is_found_by_its_id(make_model: Callable[..., tuple[Any, Path]]) -> None:
    _, path = make_model("tiny-read")
    opened = [
        await open_encoder("tiny-read", str(path)),
        await open_encoder("tiny-read", None),
        await open_encoder(UNTRAINED_MODEL, None),
    ]
    for each in opened:
        about = each.encoder
        assert find_encoder_calibration(about.id) == about.calibration
        text = find_text_calibration(about.id)
        assert text.possible_at < about.calibration.possible_at < text.match_at == about.calibration.match_at
    await asyncio.gather(*(each.close() for each in opened))
