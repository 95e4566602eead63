"""Opening the encoder of a generation. An encoder that would make other vectors is refused."""

import asyncio
from collections.abc import Sequence

from contracts.errors import MapSeekError
from contracts.generations import Generation
from contracts.ports import ImageEncoder
from infra.clip.shipped import is_missing_checkpoint
from pipeline.settings import Settings


async def open_generation_encoder(generation: Generation, settings: Settings) -> ImageEncoder:
    """Open the encoder of a generation. Raises MapSeekError if exactly this encoder is not available here."""
    encoder = await open_model_encoder(generation.model, generation.pretrained, generation.precision, settings)
    if not fits_generation(encoder, generation):
        found = encoder.encoder
        await encoder.close()
        raise MapSeekError(
            f"Generation {generation.name} was made with {generation.encoder} ({generation.digest[:12]}), but this machine has "
            f"{found.id} ({found.digest[:12]}): put its weights back, or build a new generation with `mapseek replay`."
        )
    return encoder


async def open_model_encoder(model: str, pretrained: str | None, precision: str, settings: Settings) -> ImageEncoder:
    """Open an open_clip model on the device of the settings. Raises MapSeekError if it cannot be loaded."""
    # Imported here: only a process that embeds needs torch.
    from infra.clip.encoder import open_encoder

    return await open_encoder(
        model,
        pretrained,
        device=settings.device,
        precision=precision,
        batch_size=settings.batch_size,
        batch_wait_ms=settings.batch_wait_ms,
    )


def encoder_label(encoder_id: str) -> str:
    """Return an encoder's name for people, `ViT-B-32 (laion2b_s34b_b79k)`: model and weights, and a number format
    other than fp32."""
    model, weights, number_format = encoder_id.removeprefix("open_clip/").rsplit("/", 2)
    return f"{model} ({weights})" if number_format == "fp32" else f"{model} ({weights}, {number_format})"


def refuse_missing_checkpoint(pretrained: str | None) -> None:
    """Raise MapSeekError if this is the path of a checkpoint file that does not exist."""
    if pretrained is not None and is_missing_checkpoint(pretrained):
        raise MapSeekError(f"There is no checkpoint file {pretrained}: correct the path in --pretrained.")


async def open_requested_encoder(model: str, pretrained: str | None, settings: Settings) -> ImageEncoder:
    """Open the model that `mapseek replay` asks for. A MapSeekError names its options instead of the settings."""
    try:
        return await open_model_encoder(model, pretrained, settings.precision, settings)
    except MapSeekError as error:
        sentence = str(error).replace("MAPSEEK_MODEL", "--encoder").replace("MAPSEEK_PRETRAINED", "--pretrained")
        raise MapSeekError(sentence) from error


def fits_generation(encoder: ImageEncoder, generation: Generation) -> bool:
    """Return whether the vectors of an encoder may be compared with those of a generation."""
    return (encoder.encoder.id, encoder.encoder.digest) == (generation.encoder, generation.digest)


class Encoders:
    """The open encoders of this process by generation. Two generations of one model share an encoder.

    `given` encoders are used for the generations that they fit, and stay open.
    """

    def __init__(self, settings: Settings, given: Sequence[ImageEncoder] = ()) -> None:
        self._settings = settings
        self._given = tuple(given)
        self._open: dict[str, ImageEncoder] = {}
        self._opening = asyncio.Lock()

    async def open_first(self) -> ImageEncoder:
        """Return the encoder of a new archive: the first given one, or else the one that the settings name.

        The caller closes it.
        """
        settings = self._settings
        if self._given:
            return self._given[0]
        return await open_model_encoder(settings.model, settings.pretrained, settings.precision, settings)

    async def open(self, generation: Generation) -> ImageEncoder:
        """Return the encoder of a generation, and load it if needed. Raises MapSeekError if it cannot be loaded."""
        async with self._opening:
            if generation.name not in self._open:
                fitting = (each for each in (*self._given, *self._open.values()) if fits_generation(each, generation))
                self._open[generation.name] = next(fitting, None) or await open_generation_encoder(generation, self._settings)
            return self._open[generation.name]

    @property
    def opens_by_settings(self) -> bool:
        """Whether the encoder of a new archive would be opened as the settings name it."""
        return not self._given

    async def adopt_if_fits(self, generation: Generation, encoder: ImageEncoder) -> None:
        """Use an open encoder for a generation if it fits. Close it otherwise, unless it was given."""
        if fits_generation(encoder, generation):
            self._open[generation.name] = encoder
        elif encoder not in self._given:
            await encoder.close()

    def of(self, generation: str) -> ImageEncoder | None:
        """Return the encoder of a generation, or None if it is not open here."""
        return self._open.get(generation)

    async def close(self, generation: str) -> None:
        """Close the encoder of a generation, unless another generation uses it too."""
        encoder = self._open.pop(generation, None)
        if encoder is not None and encoder not in (*self._given, *self._open.values()):
            await encoder.close()

    async def close_all(self) -> None:
        for name in list(self._open):
            await self.close(name)
