"""The real encoder with the real torch: what it loads and refuses, that it is the same in every process, what map art it finds."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from contracts.errors import MapSeekError, Reject, RejectCode, Unavailable
from infra.clip.calibration import (
    FINE_UNTRAINED_MODEL,
    SMALL_CALIBRATION,
    TRAINED_CALIBRATION,
    UNTRAINED_MODEL,
    find_encoder_calibration,
)
from infra.clip.encoder import OpenClipEncoder, open_encoder
from infra.clip.shipped import MODELS_FOLDER, SMALL_MODEL, find_shipped_tag
from infra.sandbox.art.generate import draw_piece
from infra.vision import distortions
from pipeline.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS = range(900_000, 900_030)
"""Pieces that neither the demo uses nor the calibration was measured on."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small() -> AsyncIterator[OpenClipEncoder]:
    opened = await open_encoder(SMALL_MODEL, None, device="cpu")
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder() -> AsyncIterator[OpenClipEncoder]:
    opened = await open_encoder(UNTRAINED_MODEL, None, device="cpu")
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fine() -> AsyncIterator[OpenClipEncoder]:
    opened = await open_encoder(FINE_UNTRAINED_MODEL, None, device="cpu")
    yield opened
    await opened.close()


async def vectors(encoder: OpenClipEncoder, images: list[Image.Image]) -> NDArray[np.float32]:
    encoded = await asyncio.gather(*(encoder.encode(distortions.encode_png(image), urgent=False) for image in images))
    return np.stack([np.frombuffer(vector, "<f4") for vector in encoded])


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, timeout=100)


async def test_importing_the_encoder_imports_no_torch() -> None:
    done = run_python(
        "import sys, infra.clip.encoder, stages.embed; sys.exit('torch' in sys.modules or 'open_clip' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr


async def test_the_workaround_for_torchvision_is_still_needed() -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("torch is a CUDA build here: the workaround does nothing")
    done = run_python("import open_clip")
    assert done.returncode != 0, "open_clip imports by itself: delete infra/clip/torchvision_ops.py and its call in loading.py"
    assert "torchvision::nms does not exist" in done.stderr


async def test_the_default_is_trained_and_ships_with_its_card(small: OpenClipEncoder) -> None:
    about, tag = small.encoder, find_shipped_tag(SMALL_MODEL)
    assert Settings.model_fields["model"].default == SMALL_MODEL
    assert (about.id, about.dimensions, about.trained) == (f"open_clip/{SMALL_MODEL}/{tag}/fp32", 512, True)
    assert find_encoder_calibration(about.id) == about.calibration == SMALL_CALIBRATION
    card = (MODELS_FOLDER / f"{SMALL_MODEL}.md").read_text()
    assert all(word in card for word in (str(tag), about.digest, "MIT", "seed"))
    assert sum(path.stat().st_size for path in MODELS_FOLDER.iterdir()) <= 12_000_000


async def test_the_default_model_needs_no_network() -> None:
    code = (
        "import socket\n"
        "def refused(*_: object, **__: object) -> None: raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refused\n"
        "from infra.clip.loading import load_tower\n"
        f"print(load_tower({SMALL_MODEL!r}, {find_shipped_tag(SMALL_MODEL)!r}, device='cpu', precision='fp32').name)"
    )
    done = run_python(code)
    assert done.stdout.strip() == f"open_clip/{SMALL_MODEL}/{find_shipped_tag(SMALL_MODEL)}/fp32", done.stderr


async def test_the_default_model_puts_distorted_pieces_nearest_to_their_originals(small: OpenClipEncoder) -> None:
    archived = [draw_piece(seed) for seed in SEEDS]
    gallery = await vectors(small, archived)
    distorted = {
        "jpeg": [distortions.reencode(distortions.resize(image, 0.5), 30) for image in archived],
        "darker": [distortions.change_brightness(image, 0.4) for image in archived],
        "turned": [image.rotate(6, Image.Resampling.BILINEAR, fillcolor=(90, 85, 80)) for image in archived],
        "blurred": [image.filter(ImageFilter.GaussianBlur(2.5)) for image in archived],
    }
    for how, queries in distorted.items():
        similar = await vectors(small, queries) @ gallery.T
        assert (similar.argmax(1) == np.arange(len(archived))).mean() >= 0.9, how
        assert (similar.diagonal() >= small.encoder.calibration.possible_at).mean() >= 0.9, how


async def test_the_untrained_model_says_that_it_is_untrained(encoder: OpenClipEncoder) -> None:
    about = encoder.encoder
    assert (about.id, about.dimensions, about.trained) == ("open_clip/mapseek-untrained/untrained/fp32", 512, False)
    assert 0 < about.calibration.possible_at < about.calibration.match_at < 1
    vector = await encoder.encode(distortions.encode_png(draw_piece(1)), urgent=True)
    assert len(vector) == 4 * 512
    assert np.linalg.norm(np.frombuffer(vector, "<f4")) == pytest.approx(1, abs=1e-5)


async def test_another_process_with_another_number_of_threads_has_the_same_weights(encoder: OpenClipEncoder) -> None:
    import torch

    threads = "1" if torch.get_num_threads() > 1 else "2"
    code = (
        "from infra.clip.loading import load_tower\n"
        f"print(load_tower({UNTRAINED_MODEL!r}, None, device='cpu', precision='fp32').digest)"
    )
    done = run_python(code, OMP_NUM_THREADS=threads)
    assert done.stdout.strip() == encoder.encoder.digest, done.stderr
    assert len(encoder.encoder.digest) == 64


async def test_making_random_weights_does_not_change_the_global_random_state() -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    await (await open_encoder(UNTRAINED_MODEL, None, device="cpu")).close()
    assert torch.equal(torch.rand(3), expected)


async def test_a_picture_gives_the_same_vector_alone_and_in_a_batch(encoder: OpenClipEncoder) -> None:
    image = draw_piece(4)
    alone = await vectors(encoder, [image])
    together = await vectors(encoder, [image, *(draw_piece(seed) for seed in range(20, 30))])
    assert np.allclose(alone[0], together[0], atol=1e-5)
    assert float(alone[0] @ together[1]) < 0.9


@pytest.mark.parametrize("model", ["small", "encoder", "fine"])
async def test_distorted_map_art_is_found_and_unknown_map_art_is_not(
    model: str, small: OpenClipEncoder, encoder: OpenClipEncoder, fine: OpenClipEncoder
) -> None:
    tower = {"small": small, "encoder": encoder, "fine": fine}[model]
    archived = [draw_piece(seed) for seed in SEEDS]
    gallery = await vectors(tower, archived)
    calibration = tower.encoder.calibration
    same = {
        "jpeg 50": [distortions.reencode(image, 50) for image in archived],
        "half": [distortions.resize(image, 0.5) for image in archived],
        "darker": [distortions.change_brightness(image, 0.7) for image in archived],
        "lighter": [distortions.change_brightness(image, 1.3) for image in archived],
    }
    for how, queries in same.items():
        similar = await vectors(tower, queries) @ gallery.T
        assert (similar.argmax(1) == np.arange(len(archived))).all(), how
        assert similar.diagonal().min() >= calibration.match_at, how
    cropped = await vectors(tower, [distortions.crop(image, 0.1) for image in archived]) @ gallery.T
    assert (cropped.argmax(1) == np.arange(len(archived))).mean() >= 0.95
    assert (cropped.diagonal() >= calibration.possible_at).mean() >= 0.8
    never = await vectors(tower, [draw_piece(seed + 1000) for seed in SEEDS]) @ gallery.T
    assert never.max() < calibration.match_at
    assert (never.max(1) >= calibration.possible_at).mean() <= 0.1


async def test_the_fine_untrained_model_is_another_encoder_with_its_own_thresholds(
    encoder: OpenClipEncoder, fine: OpenClipEncoder
) -> None:
    about = fine.encoder
    assert (about.id, about.dimensions, about.trained) == ("open_clip/mapseek-untrained-fine/untrained/fp32", 384, False)
    assert about.digest != encoder.encoder.digest
    assert find_encoder_calibration(about.id) == about.calibration != encoder.encoder.calibration


async def test_the_fine_untrained_model_sees_all_of_a_wide_picture(encoder: OpenClipEncoder, fine: OpenClipEncoder) -> None:
    wide, other = (draw_piece(seed).resize((384, 128)) for seed in SEEDS[:2])
    changed = wide.copy()
    changed.paste(other.crop((0, 0, 120, 128)), (0, 0))
    alike = [float(first @ second) for first, second in [await vectors(tower, [wide, changed]) for tower in (encoder, fine)]]
    assert alike[0] == pytest.approx(1, abs=1e-4), "the first model sees only the square in the middle"
    assert alike[1] < 0.95


async def test_the_fine_untrained_model_finds_more_pictures_cropped_off_centre(
    encoder: OpenClipEncoder, fine: OpenClipEncoder
) -> None:
    archived = [draw_piece(seed) for seed in SEEDS]
    corners = [((number * 7) % 11 / 10, (number * 3) % 11 / 10) for number in range(len(archived))]
    cropped = [distortions.crop(image, 0.1, anchor=corner) for image, corner in zip(archived, corners, strict=True)]
    found = []
    for tower in (encoder, fine):
        similar = (await vectors(tower, cropped) @ (await vectors(tower, archived)).T).diagonal()
        found.append((similar >= tower.encoder.calibration.possible_at).mean())
    assert found[1] > found[0] > 0.5


async def test_a_picture_that_cannot_be_decoded_fails_alone(encoder: OpenClipEncoder) -> None:
    whole = distortions.encode_png(draw_piece(2))
    asked = [whole, b"", b"no picture", whole[: len(whole) // 2]]
    good, *bad = await asyncio.gather(*(encoder.encode(each, urgent=False) for each in asked), return_exceptions=True)
    assert isinstance(good, bytes)
    assert [type(each) for each in bad] == [Reject] * 3
    assert {each.code for each in bad if isinstance(each, Reject)} == {RejectCode.DAMAGED}


async def test_a_search_overtakes_the_archive() -> None:
    encoder = await open_encoder(UNTRAINED_MODEL, None, device="cpu", batch_size=2)
    image = distortions.encode_png(draw_piece(1))
    order = list[str]()

    async def ask(name: str, *, urgent: bool) -> None:
        await encoder.encode(image, urgent=urgent)
        order.append(name)

    await asyncio.gather(*(ask("archive", urgent=False) for _ in range(40)), ask("search", urgent=True))
    await encoder.close()
    assert order.index("search") < 10
    with pytest.raises(Unavailable):
        await encoder.encode(image, urgent=True)


async def test_a_checkpoint_file_is_loaded_with_its_weights(tmp_path: Path, encoder: OpenClipEncoder) -> None:
    import torch

    from infra.clip.loading import open_clip

    path = tmp_path / "small.pt"
    torch.manual_seed(1)
    model = open_clip.create_model(UNTRAINED_MODEL)
    torch.save({"state_dict": model.state_dict()}, path)
    loaded = await open_encoder(UNTRAINED_MODEL, str(path), device="cpu")
    again = await open_encoder(UNTRAINED_MODEL, str(path), device="cpu")
    about = loaded.encoder
    assert (about.id, about.trained, about.calibration) == ("open_clip/mapseek-untrained/small.pt/fp32", True, TRAINED_CALIBRATION)
    assert about.digest == again.encoder.digest != encoder.encoder.digest
    image = draw_piece(6)
    with torch.inference_mode():
        expected = model.eval().encode_image(loaded._tower.prepare(image)[None], normalize=True)[0].numpy()
    assert np.allclose((await vectors(loaded, [image]))[0], expected, atol=1e-6)
    await asyncio.gather(loaded.close(), again.close())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    import torch

    from infra.clip.loading import open_clip

    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "list.pt").touch()
    torch.save([1, 2, 3], tmp_path / "list.pt")
    torch.save(open_clip.create_model(UNTRAINED_MODEL).state_dict(), tmp_path / "small.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "small.pt").read_bytes()[:100_000])
    (tmp_path / "text.safetensors").write_text("no weights")
    return tmp_path


@pytest.mark.parametrize(
    ("model", "pretrained", "sentence"),
    [
        ("ViT-B-23", None, r"no model called 'ViT-B-23' \(did you mean ViT-B-32.*MAPSEEK_MODEL\.$"),
        ("zzzzzz", None, r"no model called 'zzzzzz' \(open_clip.list_models.*MAPSEEK_MODEL\.$"),
        ("ViT-B-32", "laion2b_s34b", r"no pretrained tag 'laion2b_s34b' \(it has laion2b_s34b_b79k.*MAPSEEK_PRETRAINED"),
        (UNTRAINED_MODEL, "openai", r"no pretrained tag 'openai' \(it has none\)"),
        (SMALL_MODEL, "art", r"mapseek-small has no pretrained tag 'art' \(it has art-v1\): correct MAPSEEK_PRETRAINED"),
        ("ViT-B-32", "{}/none.pt", r"no checkpoint file .*none\.pt: correct the path in MAPSEEK_PRETRAINED\.$"),
        (UNTRAINED_MODEL, "{}/text.pt", r"text\.pt is not a checkpoint .*MAPSEEK_PRETRAINED to another one\.$"),
        (UNTRAINED_MODEL, "{}/empty.pt", r"empty\.pt is not a checkpoint"),
        (UNTRAINED_MODEL, "{}/list.pt", r"list\.pt is not a checkpoint"),
        (UNTRAINED_MODEL, "{}/cut.pt", r"cut\.pt is not a checkpoint"),
        (UNTRAINED_MODEL, "{}/text.safetensors", r"text\.safetensors is not a checkpoint"),
        (
            "ViT-S-32-alt",
            "{}/small.pt",
            r"small\.pt has the weights of another architecture than ViT-S-32-alt: set MAPSEEK_MODEL",
        ),
    ],
)
async def test_a_model_that_cannot_be_loaded_is_refused_with_one_sentence(
    files: Path, model: str, pretrained: str | None, sentence: str
) -> None:
    with pytest.raises(MapSeekError, match=sentence) as refused:
        await open_encoder(model, pretrained and pretrained.format(files), device="cpu")
    assert "\n" not in str(refused.value)


async def test_an_unreachable_hub_is_reported_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    await (await open_encoder(UNTRAINED_MODEL, None, device="cpu")).close()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    begun = time.monotonic()
    with pytest.raises(
        MapSeekError, match=r"'laion2b_s34b_b79k' of ViT-B-32 could not be downloaded.*MAPSEEK_PRETRAINED to the checkpoint file\.$"
    ):
        await open_encoder("ViT-B-32", "laion2b_s34b_b79k", device="cpu")
    assert time.monotonic() - begun < 10


async def test_cached_weights_need_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    from infra.clip.loading import fetch_weights

    snapshot = tmp_path / "models--some--model" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_model.safetensors").write_bytes(b"weights")
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text("0123")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert fetch_weights("model", "tag", {"hf_hub": "some/model/"}).read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("device", "precision", "sentence"),
    [
        ("cuda", "auto", "finds no device 'cuda'.*MAPSEEK_DEVICE"),
        ("cpu", "bf16", "bf16 is several times slower.*MAPSEEK_PRECISION"),
    ],
)
async def test_an_unusable_device_or_precision_is_refused(device: str, precision: str, sentence: str) -> None:
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(MapSeekError, match=sentence):
        await open_encoder(UNTRAINED_MODEL, None, device=device, precision=precision)


async def test_without_torch_the_error_says_what_to_install() -> None:
    code = (
        "import sys, asyncio\nsys.modules['torch'] = None\nfrom infra.clip.encoder import open_encoder\n"
        "from contracts.errors import MapSeekError\n"
        "try: asyncio.run(open_encoder('mapseek-untrained', None))\nexcept MapSeekError as error: print(error)"
    )
    assert "torch is not installed: install mapseek[embed]" in run_python(code).stdout


async def test_vit_b_32_runs() -> None:
    encoder = await open_encoder("ViT-B-32", None, device="cpu")
    about = encoder.encoder
    assert (about.id, about.dimensions, about.trained) == ("open_clip/ViT-B-32/untrained/fp32", 512, False)
    archived = [draw_piece(seed) for seed in SEEDS[:10]]
    gallery = await vectors(encoder, archived)
    again = await vectors(encoder, [distortions.reencode(image, 80) for image in archived]) @ gallery.T
    await encoder.close()
    assert (again.argmax(1) == np.arange(len(archived))).all()
