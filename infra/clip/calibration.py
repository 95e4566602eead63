"""How to read a cosine similarity: each family of encoders has its own scale."""

from contracts.events import Calibration
from infra.clip.shipped import SMALL_MODEL

UNTRAINED = "untrained"
"""What the weights are called in an encoder's id where they are seeded random ones."""

UNTRAINED_MODEL = "mapseek-untrained"
"""The default before there was a trained one: a small tower with seeded random weights."""

SMALL_UNTRAINED_CALIBRATION = Calibration(match_at=0.88, possible_at=0.72)
"""Measured three times on art that no demo shows: of 1,800 pictures never posted four reached 0.88 (0.909 at most) and 6 % reached
0.72 against 60 archived ones. Re-encoded, halved, or 30 % brighter or darker ones stay above 0.95. Of those cropped by 10 % around
the middle 89 % stay above 0.72, and 73 % of those cropped anywhere."""

FINE_UNTRAINED_MODEL = "mapseek-untrained-fine"
"""Another one like it, which sees four times the pixels, and all of a wide picture: something to change the model to without any
download."""

FINE_UNTRAINED_CALIBRATION = Calibration(match_at=0.9, possible_at=0.74)
"""Measured in the same way on other art, by which neither the tower nor the thresholds were chosen: of 1,800 pictures never posted
one reached 0.9 (two landscapes, 0.911) and 6.5 % reached 0.74, where the first tower has 4 above its 0.88 and 7.4 % above its 0.72.
 Re-encoded, halved, or 30 % brighter or darker ones stay above 0.97. Of those cropped by 10 % anywhere 80 % are possible,
and 73 % in the first tower; cropped around the middle it is no better: 92 % and 94 %. On two idle cores it takes 1.3 times as long
an image."""

SMALL_CALIBRATION = Calibration(match_at=0.94, possible_at=0.82)
"""Measured on drawn pieces that the tower was not trained on: of 1,800 never posted none reached 0.94 against 600 archived ones
(0.937 at most; 0.892 against 60), and 9 % reached 0.82 (2 % against 60). Re-encoded, halved, or 30 % darker ones stay above 0.96,
all but one in 600 that are 30 % brighter above 0.94, and of those cropped by 10 % anywhere 99.8 % above 0.82."""

OTHER_UNTRAINED_CALIBRATION = Calibration(match_at=0.975, possible_at=0.97)
"""Measured on ViT-B-32 with random weights, which puts all pictures close together: 48 never posted reached 0.969 at most."""

TRAINED_CALIBRATION = Calibration(match_at=0.92, possible_at=0.85)
"""CLIP's image towers: copies of a picture lie above 0.92 as a rule, pictures of the same kind between 0.6 and 0.85."""

TEXT_POSSIBLE_AT = 0.2
"""Words lie far from pictures, however well they fit: CLIP's two towers keep to cones of their own. LAION took a caption for one of
its picture from 0.28 on (ViT-B/32), unrelated pairs lie between 0.1 and 0.2, and a few words say less than a caption."""

_TRAINED = {SMALL_MODEL: SMALL_CALIBRATION}
_UNTRAINED = {UNTRAINED_MODEL: SMALL_UNTRAINED_CALIBRATION, FINE_UNTRAINED_MODEL: FINE_UNTRAINED_CALIBRATION}


def choose_calibration(model: str, *, trained: bool) -> Calibration:
    """The thresholds for an encoder's similarities."""
    if trained:
        return _TRAINED.get(model, TRAINED_CALIBRATION)
    return _UNTRAINED.get(model, OTHER_UNTRAINED_CALIBRATION)


def find_encoder_calibration(encoder_id: str) -> Calibration:
    """The thresholds for an encoder by its id, `open_clip/<model>/<weights>/<precision>`, as a generation's activation names it."""
    _, model, weights, _ = encoder_id.split("/")
    return choose_calibration(model, trained=weights != UNTRAINED)


def find_text_calibration(encoder_id: str) -> Calibration:
    """The thresholds for the similarity of words to pictures.

    A match is what it is between pictures, for that is how the posts of one piece are found; no words come near to it.
    """
    return Calibration(match_at=find_encoder_calibration(encoder_id).match_at, possible_at=TEXT_POSSIBLE_AT)
