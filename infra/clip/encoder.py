"""The image encoder: an open_clip vision tower, and the text tower where it has one, behind a micro-batcher."""

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING

import structlog
from PIL import Image

from contracts.errors import MapSeekError, Reject, RejectCode
from contracts.ports import Encoder
from infra.clip.batching import MicroBatcher
from infra.clip.calibration import calibration_of
from infra.clip.shipped import shipped_tag

if TYPE_CHECKING:
    import torch

    from infra.clip.loading import Tower


NO_WORDS = (
    "This MapSeek's model understands pictures but no words, so /find-text is not available here: ViT-B-32 is one of the models "
    "that offer it."
)


async def open_encoder(
    model: str,
    pretrained: str | None,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 16,
    batch_wait_ms: float = 5,
) -> "OpenClipEncoder":
    """Load an open_clip model by name, with the weights of a pretrained tag, of a checkpoint file, or (None) those that ship with
    it, and seeded random ones where none do.

    The device is cuda, mps or cpu, whichever is there first; the precision fp16 on cuda and fp32 elsewhere. A batch is run when it
    has `batch_size` pictures or `batch_wait_ms` after its first. Raises MapSeekError, in one sentence, for what cannot be loaded.
    """
    pretrained = pretrained or shipped_tag(model)
    tower = await asyncio.to_thread(_load, model, pretrained, device, precision)
    trained = pretrained is not None
    encoder = Encoder(tower.name, tower.digest, tower.dimensions, trained, calibration_of(model, trained=trained))
    structlog.get_logger().info("model loaded", encoder=encoder.id, digest=encoder.digest[:12], device=str(tower.device))
    return OpenClipEncoder(tower, encoder, batch_size, batch_wait_ms)


class OpenClipEncoder:
    """Pictures and words to vectors; pictures that are asked for at the same time are run together."""

    def __init__(self, tower: "Tower", encoder: Encoder, batch_size: int, batch_wait_ms: float) -> None:
        self.encoder = encoder
        self._tower = tower
        self._batcher = MicroBatcher(self._prepare, self._run, batch_size=batch_size, batch_wait_ms=batch_wait_ms)

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        """The picture's L2-normalised vector as little-endian float32.

        Raises Reject for a picture that cannot be decoded, and Unavailable when the encoder is closed.
        """
        return await self._batcher.submit(image, urgent=urgent)

    async def encode_text(self, text: str) -> bytes:
        """The words' L2-normalised vector as little-endian float32.

        Raises Reject where the model knows no words, and Unavailable when the encoder is closed.
        """
        words = self._tower.words
        if words is None:
            raise Reject(RejectCode.NO_TEXT, NO_WORDS)
        return await self._batcher.between(lambda: words.vector(text).numpy().astype("<f4").tobytes())

    async def close(self) -> None:
        """Refuse whoever waits, and end the threads."""
        await self._batcher.close()

    def _prepare(self, image: bytes) -> "torch.Tensor":
        try:
            picture = Image.open(BytesIO(image)).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise Reject(RejectCode.DAMAGED, "The picture cannot be decoded.") from error
        return self._tower.prepare(picture)

    def _run(self, prepared: "list[torch.Tensor]") -> list[bytes]:
        return [vector.astype("<f4").tobytes() for vector in self._tower.vectors(prepared).numpy()]


def _load(model: str, pretrained: str | None, device: str, precision: str) -> "Tower":
    try:
        # Deferred: torch takes seconds and half a gigabyte, and only the process that embeds needs it.
        from infra.clip.loading import load_tower
    except ModuleNotFoundError as error:
        raise MapSeekError(f"{error.name} is not installed: install mapseek[embed] where pictures are embedded.") from error
    return load_tower(model, pretrained, device=device, precision=precision)
