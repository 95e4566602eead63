"""The demo's script: who posts which piece where, and which queries are searched for. Pure, and the same every time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
from PIL import Image

from infra.sandbox.art.generate import MAP_PX, draw_piece
from infra.sandbox.art.ingame import take_screenshot
from infra.sandbox.art.phone import take_photo
from infra.vision.distortions import change_brightness, crop, encode_jpeg, encode_png, reencode, resize

PIECE_COUNT = 60
FIRST_POST = datetime(2026, 1, 4, 15, 30, tzinfo=UTC)
NEVER_POSTED = 9_000
"""The first seed of pictures that no member posts before the scenes."""

DEMO_GUILDS = {"Cartographers' Guild": ("map-gallery", "commissions"), "Pixel Harbour": ("showcase", "works-in-progress")}
DEMO_MEMBERS = ("Alex", "Steve", "Noor", "Kai", "Sunny", "Efe")

Distortion = Callable[[Image.Image], Image.Image]

QUERY_DISTORTIONS: dict[str, Distortion] = {
    "as posted": lambda image: image,
    "JPEG quality 50": lambda image: reencode(image, 50),
    "JPEG quality 30": lambda image: reencode(image, 30),
    "half size": lambda image: resize(image, 0.5),
    "one and a half times the size": lambda image: resize(image, 1.5),
    "cropped by 10 %": lambda image: crop(image, 0.1),
    "20 % darker": lambda image: change_brightness(image, 0.8),
    "20 % brighter": lambda image: change_brightness(image, 1.2),
}
"""What happens to a picture when people share it. There are two queries of each."""

QUERY_PARTS: dict[str, Distortion] = {
    "one map of it": lambda image: image.crop((MAP_PX, 0, 2 * MAP_PX, MAP_PX)),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}
"""What people do to a picture on purpose, or because a piece is built map by map. There is one query of each."""

LARGE_PIECES = (15, 20, 12)
"""The pieces of several maps that those queries show."""

QUERY_SCENES = {"a screenshot in the game": take_screenshot, "a phone photo of a monitor": take_photo}
"""What shows the picture. There are two queries of each, and one more with a picture that nobody posted."""

SCENE_SEVERITY = 2
"""The second of three levels: neither near and straight nor far and tilted."""

SCENE_JPEG_QUALITY = 90
"""The JPEG quality of screenshots and photos."""


@dataclass(frozen=True, slots=True)
class Post:
    """One piece, and the names of the guild, channel and member that it is posted in and by."""

    seed: int
    guild: str
    channel: str
    member: str

    @property
    def posted_at(self) -> datetime:
        return FIRST_POST + self.seed * timedelta(days=5, hours=7, minutes=11)

    @property
    def filename(self) -> str:
        return f"map-art-{self.seed:03d}.png"


@dataclass(frozen=True, slots=True)
class DemoQuery:
    """One picture that a member searches for. `answer` is the seed of the post that should be found, or None."""

    seed: int
    guild: str
    channel: str
    distortion: str
    answer: int | None

    @property
    def is_hard(self) -> bool:
        """Whether the piece is hard to recognise, so that the demo shows why it was found."""
        return self.distortion in QUERY_PARTS or self.distortion in QUERY_SCENES

    @property
    def format(self) -> str:
        """The format of the picture: `jpeg` or `png`."""
        return "jpeg" if self.distortion in QUERY_SCENES else "png"

    @property
    def words(self) -> str:
        if self.answer is not None:
            return f"piece {self.seed}, {self.distortion}"
        if self.seed < NEVER_POSTED:
            return f"piece {self.seed}, posted in another server"
        return f"never posted, {self.distortion}" if self.distortion in QUERY_SCENES else "never posted"


def list_posts() -> list[Post]:
    """Return the posts: each piece goes to the next channel, from the next member."""
    places = [(guild, channel) for guild, channels in DEMO_GUILDS.items() for channel in channels]
    return [Post(seed, *places[seed % len(places)], DEMO_MEMBERS[seed % len(DEMO_MEMBERS)]) for seed in range(PIECE_COUNT)]


KNOWN_SEED = 0
"""The piece that the scenes after the searches use. Alex posted it in the first channel of the first guild."""

WANTED_SEED = NEVER_POSTED + 10
"""The piece that a member waits for: nobody has posted it when it is first searched for."""

LATE_SEEDS = tuple(range(NEVER_POSTED + 20, NEVER_POSTED + 26))
"""Pieces that are posted while the bot is off."""

FORGETFUL_MEMBER = "Efe"
"""The member who wants everything forgotten."""


def list_demo_queries() -> list[DemoQuery]:
    """Return a query for every distortion, part and scene, for pictures that nobody posted, and for a post of the other guild."""
    posted = list_posts()
    turns = ((number * 7 + 3) % PIECE_COUNT for number in count())
    wanted = [
        *zip([*QUERY_DISTORTIONS, *QUERY_DISTORTIONS, *QUERY_SCENES, *QUERY_SCENES], turns, strict=False),
        *zip(QUERY_PARTS, LARGE_PIECES, strict=True),
    ]
    asked = [DemoQuery(seed, posted[seed].guild, posted[seed].channel, distortion, seed) for distortion, seed in wanted]
    there, elsewhere = list(DEMO_GUILDS)
    never = ["as posted", "as posted", *QUERY_SCENES]
    asked += [DemoQuery(NEVER_POSTED + number, there, DEMO_GUILDS[there][0], each, None) for number, each in enumerate(never)]
    foreign = next(post for post in posted if post.guild == elsewhere)
    return [*asked, DemoQuery(foreign.seed, there, DEMO_GUILDS[there][0], "as posted", None)]


def render_query_file(query: DemoQuery) -> bytes:
    """Render the query's picture: a PNG file, or a JPEG file for a scene."""
    shown = draw_piece(query.seed)
    if query.format == "jpeg":
        scene = QUERY_SCENES[query.distortion](shown, np.random.default_rng(query.seed), SCENE_SEVERITY)
        return encode_jpeg(scene.image, SCENE_JPEG_QUALITY)
    return encode_png({**QUERY_DISTORTIONS, **QUERY_PARTS}[query.distortion](shown))
