"""The encoder of a generation: opened by what its start says, and refused if its vectors would be others."""

import asyncio
from collections.abc import Sequence

from contracts.errors import MapSeekError
from contracts.generations import Generation
from contracts.ports import ImageEncoder
from infra.clip.shipped import is_missing_checkpoint
from pipeline.settings import Settings


async def open_generation_encoder(generation: Generation, settings: Settings) -> ImageEncoder:
    """The encoder whose vectors a generation is made of. Raises MapSeekError where that very one cannot be had here."""
    encoder = await open_model_encoder(generation.model, generation.pretrained, generation.precision, settings)
    if not fits_generation(encoder, generation):
        found = encoder.encoder
        await encoder.close()
        raise MapSeekError(
            f"Generation {generation.name} was made with {generation.encoder} ({generation.digest[:12]}), but here that is "
            f"{found.id} ({found.digest[:12]}): put back its weights, or build a generation of the others with `mapseek replay`."
        )
    return encoder


async def open_model_encoder(model: str, pretrained: str | None, precision: str, settings: Settings) -> ImageEncoder:
    """An open_clip model, run as the settings say. Raises MapSeekError for what cannot be loaded."""
    # Deferred: only a process that embeds pays for importing torch.
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
    """An encoder as people name it, `ViT-B-32 (laion2b_s34b_b79k)`: model, weights, and an unusual number format."""
    model, weights, number_format = encoder_id.removeprefix("open_clip/").rsplit("/", 2)
    return f"{model} ({weights})" if number_format == "fp32" else f"{model} ({weights}, {number_format})"


def refuse_missing_checkpoint(pretrained: str | None) -> None:
    """Raise MapSeekError where that is the path of a file that is not there."""
    if pretrained is not None and is_missing_checkpoint(pretrained):
        raise MapSeekError(f"There is no checkpoint file {pretrained}: correct the path in --pretrained.")


async def open_requested_encoder(model: str, pretrained: str | None, settings: Settings) -> ImageEncoder:
    """The model that somebody wants a generation of. Raises MapSeekError, which names the options that it was given by."""
    try:
        return await open_model_encoder(model, pretrained, settings.precision, settings)
    except MapSeekError as error:
        sentence = str(error).replace("MAPSEEK_MODEL", "--encoder").replace("MAPSEEK_PRETRAINED", "--pretrained")
        raise MapSeekError(sentence) from error


def fits_generation(encoder: ImageEncoder, generation: Generation) -> bool:
    """Whether an encoder's vectors may be compared with a generation's."""
    return (encoder.encoder.id, encoder.encoder.digest) == (generation.encoder, generation.digest)


class Encoders:
    """The encoders that are open in this process, by generation; two generations of one model share theirs.

    Those that are `given` are used where they fit, and left open.
    """

    def __init__(self, settings: Settings, given: Sequence[ImageEncoder] = ()) -> None:
        self._settings = settings
        self._given = tuple(given)
        self._open: dict[str, ImageEncoder] = {}
        self._opening = asyncio.Lock()

    async def open_first(self) -> ImageEncoder:
        """The encoder that founds an archive: the one that is given, or that the settings name; it is its caller's to close."""
        settings = self._settings
        if self._given:
            return self._given[0]
        return await open_model_encoder(settings.model, settings.pretrained, settings.precision, settings)

    async def open(self, generation: Generation) -> ImageEncoder:
        """The encoder of a generation, loaded if it is not yet. Raises MapSeekError where it cannot be."""
        async with self._opening:
            if generation.name not in self._open:
                at_hand = (each for each in (*self._given, *self._open.values()) if fits_generation(each, generation))
                self._open[generation.name] = next(at_hand, None) or await open_generation_encoder(generation, self._settings)
            return self._open[generation.name]

    @property
    def opens_by_settings(self) -> bool:
        """Whether an encoder would be opened by the settings' name of it."""
        return not self._given

    async def adopt_if_fits(self, generation: Generation, encoder: ImageEncoder) -> None:
        """Take over an encoder that is open already, or close it if it is not the generation's."""
        if fits_generation(encoder, generation):
            self._open[generation.name] = encoder
        elif encoder not in self._given:
            await encoder.close()

    def of(self, generation: str) -> ImageEncoder | None:
        """The encoder of a generation if it is open here."""
        return self._open.get(generation)

    async def close(self, generation: str) -> None:
        """Close the encoder of a generation, unless another one uses it too."""
        encoder = self._open.pop(generation, None)
        if encoder is not None and encoder not in (*self._given, *self._open.values()):
            await encoder.close()

    async def close_all(self) -> None:
        for name in list(self._open):
            await self.close(name)
