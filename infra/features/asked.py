"""What a question asks the index: its features and those of its mirror image, in the words that they may have in the archive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.vision.poses import Poses, mirrored_poses, poses_of
from infra.vision.prints import Print
from infra.vision.sift import mirrored
from infra.vision.words import mirrored_words, probes_of, signatures_of

PROBES = 3
"""Words in which a feature is looked for, at most: blur and noise move it to a neighbouring word."""

LOOKUPS = 1500
"""Where there are many features, losing some is no matter, but the time is: only a question with few looks in several words."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """`words` and `signatures` are (2, n, probes), `poses` (2, n): of the question as it is, and of its mirror image.

    `hashes` are PDQ's, (m, 4) as 64-bit numbers, in all turns of the whole and of its places.
    """

    words: NDArray[np.uint16]
    signatures: NDArray[np.uint64]
    poses: Poses
    hashes: NDArray[np.uint64]


def asked_of(question: Print) -> Asked:
    """What a question's print asks; an archived picture's print may be asked as well."""
    probes = min(PROBES, LOOKUPS // max(len(question.words), 1))
    if probes > 1:
        words = probes_of(question.descriptors, probes)
        signatures = signatures_of(question.descriptors, words)
    else:
        words, signatures = question.words[:, None], question.signatures[:, None]
    turned = mirrored_words(words)
    both = np.stack([signatures, signatures_of(mirrored(question.descriptors), turned)])
    poses = poses_of(question.points)
    both_poses = np.stack([poses, mirrored_poses(poses)])
    hashes = question.place_hashes.tobytes() or question.hash
    return Asked(np.stack([words, turned]), both, both_poses, np.frombuffer(hashes, "<u8").reshape(-1, 4))
