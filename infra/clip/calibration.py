"""Similarity thresholds for each encoder: every family of encoders has its own scale of cosines."""

from contracts.events import Calibration
from infra.clip.shipped import SMALL_MODEL

UNTRAINED = "untrained"
"""The name of seeded random weights in an encoder's id."""

UNTRAINED_MODEL = "mapseek-untrained"
"""The former default, from before there was a trained model: a small tower with seeded random weights."""

SMALL_UNTRAINED_CALIBRATION = Calibration(match_at=0.88, possible_at=0.72)
"""Measured three times, against 60 archived pictures, on art that no demo shows. Of 1,800 pictures never posted, four reached 0.88
(0.909 at most) and 6 % reached 0.72. Copies that are re-encoded, halved, or 30 % brighter or darker stay above 0.95. Of copies
cropped by 10 %, 89 % stay above 0.72 if cropped around the middle, and 73 % if cropped anywhere.
"""

FINE_UNTRAINED_MODEL = "mapseek-untrained-fine"
"""A similar model that sees four times as many pixels, and all of a wide picture: another model to change to without a download."""

FINE_UNTRAINED_CALIBRATION = Calibration(match_at=0.9, possible_at=0.74)
"""Measured in the same way on other art, which was used to choose neither the tower nor the thresholds. Of 1,800 pictures never
posted, one reached 0.9 (two landscapes, 0.911) and 6.5 % reached 0.74; the first tower has 4 above its 0.88 and 7.4 % above its
0.72. Copies that are re-encoded, halved, or 30 % brighter or darker stay above 0.97. Of copies cropped by 10 % anywhere, 80 % are
possible matches (first tower: 73 %). Cropped around the middle it is no better: 92 % and 94 %. On two idle cores an image takes 1.3
times as long.
"""

SMALL_CALIBRATION = Calibration(match_at=0.94, possible_at=0.82)
"""Measured on drawn pieces that the tower was not trained on, against 600 archived ones. Of 1,800 never posted, none reached 0.94
(0.937 at most; 0.892 against 60 archived ones) and 9 % reached 0.82 (2 % against 60). Copies that are re-encoded, halved or 30 %
darker stay above 0.96. Of copies that are 30 % brighter, all but one in 600 stay above 0.94. Of copies cropped by 10 % anywhere,
99.8 % stay above 0.82.
"""

OTHER_UNTRAINED_CALIBRATION = Calibration(match_at=0.975, possible_at=0.97)
"""Measured on ViT-B-32 with random weights, which places all pictures close together: 48 never posted reached 0.969 at most."""

TRAINED_CALIBRATION = Calibration(match_at=0.92, possible_at=0.85)
"""CLIP's image towers: copies of a picture are usually above 0.92, pictures of the same kind between 0.6 and 0.85."""

TEXT_POSSIBLE_AT = 0.2
"""The vectors of words are far from those of pictures even if they fit, since each of CLIP's two towers keeps to its own cone.
LAION accepted a caption for its picture from 0.28 on (ViT-B/32). Unrelated pairs are between 0.1 and 0.2, and a few words say less
than a caption.
"""

_TRAINED = {SMALL_MODEL: SMALL_CALIBRATION}
_UNTRAINED = {UNTRAINED_MODEL: SMALL_UNTRAINED_CALIBRATION, FINE_UNTRAINED_MODEL: FINE_UNTRAINED_CALIBRATION}


def choose_calibration(model: str, *, trained: bool) -> Calibration:
    """Return the thresholds for the similarities of a model's vectors."""
    if trained:
        return _TRAINED.get(model, TRAINED_CALIBRATION)
    return _UNTRAINED.get(model, OTHER_UNTRAINED_CALIBRATION)


def find_encoder_calibration(encoder_id: str) -> Calibration:
    """Return the thresholds for an encoder's id, `open_clip/<model>/<weights>/<precision>`, as the activation of a generation has
    it.
    """
    _, model, weights, _ = encoder_id.split("/")
    return choose_calibration(model, trained=weights != UNTRAINED)


def find_text_calibration(encoder_id: str) -> Calibration:
    """Return the thresholds for the similarity of words and pictures.

    The threshold of a match is the one between pictures, since it is used to find the posts of one piece. Words never reach it.
    """
    return Calibration(match_at=find_encoder_calibration(encoder_id).match_at, possible_at=TEXT_POSSIBLE_AT)
