"""What happens in the demo: who posts which piece where, and which 20 questions are asked. Pure, and the same every time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from PIL import Image

from infra.art.distort import brightness, crop, png, reencode, resize
from infra.art.generate import piece

PIECES = 60
FIRST_POST = datetime(2026, 1, 4, 15, 30, tzinfo=UTC)
NEVER_POSTED = 9_000
"""Seeds from here on are of pictures that nobody posts."""

GUILDS = {"Cartographers' Guild": ("map-gallery", "commissions"), "Pixel Harbour": ("showcase", "works-in-progress")}
MEMBERS = ("Alex", "Steve", "Noor", "Kai", "Sunny", "Efe")

Distortion = Callable[[Image.Image], Image.Image]

DISTORTIONS: dict[str, Distortion] = {
    "as posted": lambda image: image,
    "JPEG quality 50": lambda image: reencode(image, 50),
    "JPEG quality 30": lambda image: reencode(image, 30),
    "half size": lambda image: resize(image, 0.5),
    "one and a half times the size": lambda image: resize(image, 1.5),
    "cropped by 10 %": lambda image: crop(image, 0.1),
    "20 % darker": lambda image: brightness(image, 0.8),
    "20 % brighter": lambda image: brightness(image, 1.2),
}


@dataclass(frozen=True, slots=True)
class Post:
    """One piece, and where it goes: the names of guild, channel and member."""

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
class Question:
    """One picture that is asked about. `answer` is the seed of the post that should be found, None if there is none."""

    seed: int
    guild: str
    channel: str
    distortion: str
    answer: int | None

    @property
    def words(self) -> str:
        if self.answer is not None:
            return f"piece {self.seed}, {self.distortion}"
        return "never posted" if self.seed >= NEVER_POSTED else f"piece {self.seed}, posted in another server"


def posts() -> list[Post]:
    """Every piece in turn goes to the next channel, from the next member."""
    places = [(guild, channel) for guild, channels in GUILDS.items() for channel in channels]
    return [Post(seed, *places[seed % len(places)], MEMBERS[seed % len(MEMBERS)]) for seed in range(PIECES)]


KNOWN = 0
"""The piece with which the scenes after the questions are played: Alex posted it in the first server's first channel."""

WANTED = NEVER_POSTED + 10
"""Nobody has posted it when it is first asked for."""

LATE = tuple(range(NEVER_POSTED + 20, NEVER_POSTED + 26))
"""Pieces that are posted while the bot is switched off."""

FORGETFUL = "Efe"
"""The member who wants everything forgotten."""


def questions() -> list[Question]:
    """Two of each distortion, three pictures that nobody posted, and one that only the other server knows."""
    posted = posts()
    asked = []
    for number, distortion in enumerate([*DISTORTIONS, *DISTORTIONS]):
        post = posted[(number * 7 + 3) % PIECES]
        asked.append(Question(post.seed, post.guild, post.channel, distortion, post.seed))
    there, elsewhere = list(GUILDS)
    asked += [Question(NEVER_POSTED + number, there, GUILDS[there][0], "as posted", None) for number in range(3)]
    foreign = next(post for post in posted if post.guild == elsewhere)
    return [*asked, Question(foreign.seed, there, GUILDS[there][0], "as posted", None)]


def question_file(question: Question) -> bytes:
    """The picture that is attached to the question, as PNG."""
    return png(DISTORTIONS[question.distortion](piece(question.seed)))
