"""The kinds of questions: how each is made of a piece, and how many of all questions are of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from infra.sandbox.art.camera import WHOLE_PICTURE, ArtPicture
from infra.sandbox.art.canvas import Rng
from infra.sandbox.art.generate import MAP_PX
from infra.sandbox.art.ingame import take_screenshot
from infra.sandbox.art.phone import take_photo
from infra.vision.distortions import reencode
from tests.quality.pieces import Art

SMALLEST = 0.12
"""The least share of a piece's area that a crop shows."""
ENOUGH = 40.0
"""From this on a part is not blank; if none of so many tries is, the one that says most is taken."""
TRIES = 12


@dataclass(frozen=True, slots=True)
class Lot:
    """What a question is made of: the piece, the picture of it that was posted, others of the wall, chance, and severity 1 to 3."""

    art: Art
    posted: Image.Image
    others: Sequence[Image.Image]
    rng: Rng
    severity: int


Making = Callable[[Lot], ArtPicture]


def file_of(scene: ArtPicture) -> bytes:
    """The picture as it is sent."""
    buffer = BytesIO()
    if scene.quality is None:
        scene.image.save(buffer, "PNG", compress_level=3)
    else:
        scene.image.save(buffer, "JPEG", quality=scene.quality)
    return buffer.getvalue()


def copied(lot: Lot) -> ArtPicture:
    """a: the file, re-encoded or resized."""
    factor = 1.0 if lot.rng.random() < 0.3 else lot.rng.uniform(*((0.7, 2), (0.5, 2.5), (0.35, 3))[lot.severity - 1])
    methods = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BOX)
    size = [max(40, round(side * factor)) for side in lot.posted.size]
    image = lot.posted.resize((size[0], size[1]), methods[int(lot.rng.integers(4))])
    return ArtPicture(
        image, WHOLE_PICTURE, None if lot.rng.random() < 0.25 else int(lot.rng.integers((75, 55, 35)[lot.severity - 1], 96))
    )


def in_game(lot: Lot) -> ArtPicture:
    """b: a screenshot."""
    return take_screenshot(lot.art.maps, lot.rng, lot.severity, beside=lot.others)


def of_monitor(lot: Lot) -> ArtPicture:
    """c: a photograph of a monitor."""
    return take_photo(lot.art.maps, lot.rng, lot.severity)


def cropped(lot: Lot) -> ArtPicture:
    """d: a part of the posted picture that is not blank, re-encoded."""
    best, told = lot.posted, -1.0
    for _ in range(TRIES):
        share = lot.rng.uniform(*((0.4, 0.8), (0.22, 0.5), (SMALLEST, 0.28))[lot.severity - 1])
        part = _part(lot.posted, share, lot.rng)
        if (says := _says(part)) > told:
            best, told = part, says
        if told > ENOUGH:
            break
    factor = lot.rng.uniform(0.8, 2.5) if lot.rng.random() < 0.6 else 1.0
    size = max(32, round(best.width * factor)), max(32, round(best.height * factor))
    image = best.resize(size, Image.Resampling.NEAREST if lot.rng.random() < 0.4 else Image.Resampling.BILINEAR)
    return ArtPicture(image, WHOLE_PICTURE, None if lot.rng.random() < 0.3 else int(lot.rng.integers(60, 96)))


def _says(part: Image.Image) -> float:
    """How far from blank a picture is: its contrast and its edges."""
    grey = np.asarray(part.convert("L").resize((48, 48), Image.Resampling.BOX), np.float32)
    return float(grey.std() + 4 * np.abs(np.diff(grey, axis=0)).mean() + 4 * np.abs(np.diff(grey, axis=1)).mean())


def _part(picture: Image.Image, share: float, rng: Rng) -> Image.Image:
    stretch = float(np.exp(rng.uniform(-0.35, 0.35)))
    wide = min(1.0, share**0.5 * stretch)
    width, height = round(picture.width * wide), round(picture.height * min(1.0, share / wide))
    left, top = int(rng.integers(0, picture.width - width + 1)), int(rng.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def before_it_was_a_map(lot: Lot) -> ArtPicture:
    """e: the original art, as it is found elsewhere."""
    image = lot.art.original
    if lot.rng.random() < 0.3:
        image = _part(image, lot.rng.uniform(0.85, 1.0), lot.rng)
    factor = lot.rng.uniform(0.6, 1.5)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    image = ImageEnhance.Brightness(image).enhance(lot.rng.uniform(0.85, 1.15))
    image = ImageEnhance.Color(image).enhance(lot.rng.uniform(0.7, 1.25))
    return ArtPicture(image, WHOLE_PICTURE, int(lot.rng.integers((85, 70, 50)[lot.severity - 1], 96)))


def one_panel(lot: Lot) -> ArtPicture:
    """One map, or a few, of a larger piece, the one of three that says most: as a file, or on a wall."""
    columns, rows = lot.art.size
    wide = int(lot.rng.integers(1, columns + 1)) if lot.severity == 1 else 1
    tall = 1 if wide == columns or lot.severity > 1 else int(lot.rng.integers(1, rows + 1))
    places = zip(lot.rng.integers(0, columns - wide + 1, 3), lot.rng.integers(0, rows - tall + 1, 3), strict=True)
    panels = [lot.art.maps.crop((x * MAP_PX, y * MAP_PX, (x + wide) * MAP_PX, (y + tall) * MAP_PX)) for x, y in places]
    panel = max(panels, key=_says)
    if lot.rng.random() < 0.5:
        return take_screenshot(panel, lot.rng, lot.severity)
    factor = int(lot.rng.integers(1, 5))
    return ArtPicture(panel.resize((panel.width * factor, panel.height * factor), Image.Resampling.NEAREST), WHOLE_PICTURE, 85)


TURNS = (
    Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270, Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
)  # fmt: skip


def turned(lot: Lot) -> ArtPicture:
    """Turned by 90, 180 or 270 degrees, or a mirror image: of a file, a screenshot or a photograph."""
    making = (copied, copied, in_game, of_monitor)[int(lot.rng.integers(4))]
    scene = making(lot)
    return ArtPicture(scene.image.transpose(TURNS[int(lot.rng.integers(len(TURNS)))]), WHOLE_PICTURE, scene.quality)


def _extreme(making: Making) -> Making:
    def made(lot: Lot) -> ArtPicture:
        scene = making(lot)
        factor = lot.rng.uniform(0.25, 0.4)
        small = scene.image.resize((round(scene.image.width * factor), round(scene.image.height * factor)), Image.Resampling.BOX)
        small = small.filter(ImageFilter.GaussianBlur(lot.rng.uniform(0.4, 0.9)))
        return ArtPicture(reencode(small, 60), scene.place, int(lot.rng.integers(25, 41)))

    return made


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of question: its name, what it is, its part of all questions, how it is made and which pieces it needs."""

    name: str
    about: str
    weight: float
    make: Making
    plain: bool = False
    quantised: bool = False
    panels: int = 1
    severities: tuple[int, ...] = (1, 2, 3)


ALL = (
    Category("a", "file, re-encoded or resized", 8, copied),
    Category("b", "in-game screenshot", 17, in_game),
    Category("c", "phone photo of a monitor", 17, of_monitor),
    Category("d", "crop of at least 12 %", 13, cropped),
    Category("e", "original art against the map", 10, before_it_was_a_map, quantised=True),
    Category("panel", "one panel or a few of a piece", 6, one_panel, panels=4),
    Category("turned", "turned by 90 degrees or mirrored", 6, turned),
    Category("plain-b", "low texture, screenshot", 4, in_game, plain=True),
    Category("plain-c", "low texture, phone photo", 4, of_monitor, plain=True),
    Category("plain-d", "low texture, crop", 4, cropped, plain=True),
    Category("plain-e", "low texture, original", 4, before_it_was_a_map, plain=True, quantised=True),
    Category("extreme-b", "screenshot, tiny and blurred", 3.5, _extreme(in_game), severities=(1, 2)),
    Category("extreme-c", "phone photo, tiny and blurred", 3.5, _extreme(of_monitor), severities=(1, 2)),
)
BY_NAME: Mapping[str, Category] = {category.name: category for category in ALL}
OUTLINED = frozenset({"b", "c", "plain-b", "plain-c", "extreme-b", "extreme-c"})
"""Categories whose questions know where the piece is."""

cv2.setNumThreads(1)
