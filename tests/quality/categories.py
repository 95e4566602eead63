"""The categories of queries: how each is made from a piece, and what share of all queries it has."""

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

MIN_CROP_SHARE = 0.12
"""A crop shows at least this share of a piece's area."""
MIN_CONTENT = 40.0
"""A part with at least this content is not blank. If none of the TRIES reaches it, the one with most content is used."""
TRIES = 12


@dataclass(frozen=True, slots=True)
class QueryInput:
    """What a query is made from: the piece, its posted picture, other pieces on the wall, random numbers, and severity 1 to 3."""

    art: Art
    posted: Image.Image
    others: Sequence[Image.Image]
    rng: Rng
    severity: int


MakePicture = Callable[[QueryInput], ArtPicture]


def encode_file(scene: ArtPicture) -> bytes:
    """Return the picture as the file that is sent."""
    buffer = BytesIO()
    if scene.quality is None:
        scene.image.save(buffer, "PNG", compress_level=3)
    else:
        scene.image.save(buffer, "JPEG", quality=scene.quality)
    return buffer.getvalue()


def make_copy(given: QueryInput) -> ArtPicture:
    """Make category a: the file, re-encoded or resized."""
    factor = 1.0 if given.rng.random() < 0.3 else given.rng.uniform(*((0.7, 2), (0.5, 2.5), (0.35, 3))[given.severity - 1])
    methods = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BOX)
    size = [max(40, round(side * factor)) for side in given.posted.size]
    image = given.posted.resize((size[0], size[1]), methods[int(given.rng.integers(4))])
    return ArtPicture(
        image, WHOLE_PICTURE, None if given.rng.random() < 0.25 else int(given.rng.integers((75, 55, 35)[given.severity - 1], 96))
    )


def make_screenshot(given: QueryInput) -> ArtPicture:
    """Make category b: a screenshot."""
    return take_screenshot(given.art.maps, given.rng, given.severity, beside=given.others)


def make_monitor_photo(given: QueryInput) -> ArtPicture:
    """Make category c: a photograph of a monitor."""
    return take_photo(given.art.maps, given.rng, given.severity)


def make_crop(given: QueryInput) -> ArtPicture:
    """Make category d: a part of the posted picture that is not blank, re-encoded."""
    best, best_content = given.posted, -1.0
    for _ in range(TRIES):
        share = given.rng.uniform(*((0.4, 0.8), (0.22, 0.5), (MIN_CROP_SHARE, 0.28))[given.severity - 1])
        part = _crop_part(given.posted, share, given.rng)
        if (content := _measure_content(part)) > best_content:
            best, best_content = part, content
        if best_content > MIN_CONTENT:
            break
    factor = given.rng.uniform(0.8, 2.5) if given.rng.random() < 0.6 else 1.0
    size = max(32, round(best.width * factor)), max(32, round(best.height * factor))
    image = best.resize(size, Image.Resampling.NEAREST if given.rng.random() < 0.4 else Image.Resampling.BILINEAR)
    return ArtPicture(image, WHOLE_PICTURE, None if given.rng.random() < 0.3 else int(given.rng.integers(60, 96)))


def _measure_content(part: Image.Image) -> float:
    """Return the content of a picture, from its contrast and edges. A blank picture has 0."""
    grey = np.asarray(part.convert("L").resize((48, 48), Image.Resampling.BOX), np.float32)
    return float(grey.std() + 4 * np.abs(np.diff(grey, axis=0)).mean() + 4 * np.abs(np.diff(grey, axis=1)).mean())


def _crop_part(picture: Image.Image, share: float, rng: Rng) -> Image.Image:
    stretch = float(np.exp(rng.uniform(-0.35, 0.35)))
    wide = min(1.0, share**0.5 * stretch)
    width, height = round(picture.width * wide), round(picture.height * min(1.0, share / wide))
    left, top = int(rng.integers(0, picture.width - width + 1)), int(rng.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def make_from_original(given: QueryInput) -> ArtPicture:
    """Make category e: the original art, as it is found elsewhere."""
    image = given.art.original
    if given.rng.random() < 0.3:
        image = _crop_part(image, given.rng.uniform(0.85, 1.0), given.rng)
    factor = given.rng.uniform(0.6, 1.5)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    image = ImageEnhance.Brightness(image).enhance(given.rng.uniform(0.85, 1.15))
    image = ImageEnhance.Color(image).enhance(given.rng.uniform(0.7, 1.25))
    return ArtPicture(image, WHOLE_PICTURE, int(given.rng.integers((85, 70, 50)[given.severity - 1], 96)))


def make_panel(given: QueryInput) -> ArtPicture:
    """Make one map or a few of a larger piece, as a file or on a wall. Of three random choices, use the one with most content."""
    columns, rows = given.art.size
    wide = int(given.rng.integers(1, columns + 1)) if given.severity == 1 else 1
    tall = 1 if wide == columns or given.severity > 1 else int(given.rng.integers(1, rows + 1))
    places = zip(given.rng.integers(0, columns - wide + 1, 3), given.rng.integers(0, rows - tall + 1, 3), strict=True)
    panels = [given.art.maps.crop((x * MAP_PX, y * MAP_PX, (x + wide) * MAP_PX, (y + tall) * MAP_PX)) for x, y in places]
    panel = max(panels, key=_measure_content)
    if given.rng.random() < 0.5:
        return take_screenshot(panel, given.rng, given.severity)
    factor = int(given.rng.integers(1, 5))
    return ArtPicture(panel.resize((panel.width * factor, panel.height * factor), Image.Resampling.NEAREST), WHOLE_PICTURE, 85)


TURNS = (
    Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270, Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
)  # fmt: skip


def make_turned(given: QueryInput) -> ArtPicture:
    """Make a file, screenshot or photograph, then turn it by 90, 180 or 270 degrees or mirror it."""
    make_picture = (make_copy, make_copy, make_screenshot, make_monitor_photo)[int(given.rng.integers(4))]
    scene = make_picture(given)
    return ArtPicture(scene.image.transpose(TURNS[int(given.rng.integers(len(TURNS)))]), WHOLE_PICTURE, scene.quality)


def _make_extreme(make_picture: MakePicture) -> MakePicture:
    def make_small(given: QueryInput) -> ArtPicture:
        scene = make_picture(given)
        factor = given.rng.uniform(0.25, 0.4)
        small = scene.image.resize((round(scene.image.width * factor), round(scene.image.height * factor)), Image.Resampling.BOX)
        small = small.filter(ImageFilter.GaussianBlur(given.rng.uniform(0.4, 0.9)))
        return ArtPicture(reencode(small, 60), scene.place, int(given.rng.integers(25, 41)))

    return make_small


@dataclass(frozen=True, slots=True)
class Category:
    """A category of queries: its name, what it is, its share of all queries, how it is made, and which pieces it needs."""

    name: str
    about: str
    weight: float
    make: MakePicture
    plain: bool = False
    quantised: bool = False
    panels: int = 1
    severities: tuple[int, ...] = (1, 2, 3)


ALL = (
    Category("a", "file, re-encoded or resized", 8, make_copy),
    Category("b", "in-game screenshot", 17, make_screenshot),
    Category("c", "phone photo of a monitor", 17, make_monitor_photo),
    Category("d", "crop of at least 12 %", 13, make_crop),
    Category("e", "original art against the map", 10, make_from_original, quantised=True),
    Category("panel", "one panel or a few of a piece", 6, make_panel, panels=4),
    Category("turned", "turned by 90 degrees or mirrored", 6, make_turned),
    Category("plain-b", "low texture, screenshot", 4, make_screenshot, plain=True),
    Category("plain-c", "low texture, phone photo", 4, make_monitor_photo, plain=True),
    Category("plain-d", "low texture, crop", 4, make_crop, plain=True),
    Category("plain-e", "low texture, original", 4, make_from_original, plain=True, quantised=True),
    Category("extreme-b", "screenshot, tiny and blurred", 3.5, _make_extreme(make_screenshot), severities=(1, 2)),
    Category("extreme-c", "phone photo, tiny and blurred", 3.5, _make_extreme(make_monitor_photo), severities=(1, 2)),
)
BY_NAME: Mapping[str, Category] = {category.name: category for category in ALL}
OUTLINED_CATEGORIES = frozenset({"b", "c", "plain-b", "plain-c", "extreme-b", "extreme-c"})
"""Categories in which the place of the piece is known."""

cv2.setNumThreads(1)
