"""What a generation is made of may be of a release that is newer than this one."""

from contracts.errors import MapSeekError
from contracts.generations import Generation
from stages import fingerprint, preprocess


def refuse_unknown_version(generation: Generation) -> None:
    """Raises MapSeekError for a generation of pictures that this release cannot make."""
    if generation.preprocessing not in preprocess.VERSIONS:
        raise MapSeekError(
            f"Generation {generation.name} is made of pictures preprocessed as {generation.preprocessing}, which this release does "
            f"not know: start the newer one that made it, or give it up with `mapseek drop {generation.name}`."
        )


def refuse_unknown_method(generation: Generation) -> None:
    """Raises MapSeekError for a generation of fingerprints that this release cannot make."""
    if generation.fingerprint not in fingerprint.METHODS:
        raise MapSeekError(
            f"Generation {generation.name} knows pictures by fingerprints of method {generation.fingerprint}, which this release "
            f"cannot make: start the newer one that made it, or give it up with `mapseek drop {generation.name}`."
        )
