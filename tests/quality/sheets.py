"""Contact sheets: questions beside the piece that they show and the one that was answered. Photographs are never shown."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tests.quality.making import Query
from tests.quality.running import Answer
from tests.quality.scoring import Outcome

TALL, WIDE, LINE = 104, 138, 14
MOST = 6
"""Misses that are shown of each category."""
QUALITY = 55


def missed(query: Query, outcome: Outcome) -> bool:
    """A piece that is not first, or a match that there is not."""
    return outcome.false_match or (query.expected is not None and not outcome.right)


def misses(
    queries: Sequence[Query],
    outcomes: Sequence[Outcome],
    answers: Sequence[Answer],
    gallery: Sequence[Path],
    shown: Callable[[int], bool],
) -> Image.Image | None:
    """What was asked, the right piece and the first answer, side by side; None where there is no miss that may be shown."""
    tiles, of_category = [], Counter[str]()
    for query, outcome, answer in zip(queries, outcomes, answers, strict=True):
        if not missed(query, outcome) or query.family == "photo" or of_category[query.category] == MOST:
            continue
        of_category[query.category] += 1
        told = min(outcome.told[0][0]) if outcome.told else None
        pictures = [Path(query.file), None if query.expected is None else gallery[query.expected]]
        pictures.append(gallery[told] if told is not None and shown(told) else None)
        score = f"{outcome.told[0][1]:.2f}" if outcome.told else "-"
        tiles.append(_tile(pictures, f"{query.name} severity {query.severity}: {answer.verdict} {score}"))
    return _sheet(tiles, 2) if tiles else None


def examples(queries: Sequence[Query], each: int = 4) -> Image.Image:
    """A few questions of every category, of increasing severity."""
    tiles = []
    for category in dict.fromkeys(query.category for query in queries):
        chosen = [
            query for query in queries if query.category == category and query.family != "photo" and query.expected is not None
        ]
        chosen = chosen[:: max(1, len(chosen) // each)][:each]
        tiles += [_tile([Path(query.file)], f"{query.name} severity {query.severity}") for query in chosen]
    return _sheet(tiles, 2 * each)


def _tile(pictures: Sequence[Path | None], caption: str) -> Image.Image:
    tile = Image.new("RGB", (WIDE * len(pictures), TALL + LINE), (28, 28, 32))
    for place, path in enumerate(pictures):
        if path is not None:
            small = Image.open(path).convert("RGB")
            small.thumbnail((WIDE - 4, TALL - 2))
            tile.paste(small, (place * WIDE + 2, 1))
    ImageDraw.Draw(tile).text((3, TALL), caption, fill=(230, 230, 230), font=ImageFont.load_default(10))
    return tile


def _sheet(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    wide, tall = tiles[0].size
    sheet = Image.new("RGB", (wide * min(columns, len(tiles)), tall * -(-len(tiles) // columns)), (28, 28, 32))
    for at, tile in enumerate(tiles):
        sheet.paste(tile, (at % columns * wide, at // columns * tall))
    return sheet


def saved(sheet: Image.Image, path: Path) -> None:
    """As WebP of a quality that is enough for small pictures."""
    sheet.save(path, "WEBP", quality=QUALITY, method=6)
