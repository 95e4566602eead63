"""Contact sheets: queries beside the piece that they show and the piece that was found. Photographs are never shown."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tests.quality.making import Query
from tests.quality.running import Answer
from tests.quality.scoring import Outcome

TILE_HEIGHT_PX, TILE_WIDTH_PX, CAPTION_HEIGHT_PX = 104, 138, 14
MAX_MISSES = 6
"""At most this many misses of each category are shown."""
WEBP_QUALITY = 55


def is_miss(query: Query, outcome: Outcome) -> bool:
    """Whether the right piece is not first, or a no-match was called a match."""
    return outcome.is_false_match or (query.expected is not None and not outcome.is_right)


def draw_misses(
    queries: Sequence[Query],
    outcomes: Sequence[Outcome],
    answers: Sequence[Answer],
    gallery: Sequence[Path],
    may_show: Callable[[int], bool],
) -> Image.Image | None:
    """Draw the query, the right piece and the first answer side by side. Returns None if there is no miss that may be shown."""
    tiles, of_category = [], Counter[str]()
    for query, outcome, answer in zip(queries, outcomes, answers, strict=True):
        if not is_miss(query, outcome) or query.family == "photo" or of_category[query.category] == MAX_MISSES:
            continue
        of_category[query.category] += 1
        found = min(outcome.found[0][0]) if outcome.found else None
        pictures = [Path(query.file), None if query.expected is None else gallery[query.expected]]
        pictures.append(gallery[found] if found is not None and may_show(found) else None)
        score = f"{outcome.found[0][1]:.2f}" if outcome.found else "-"
        tiles.append(_tile(pictures, f"{query.name} severity {query.severity}: {answer.verdict} {score}"))
    return _sheet(tiles, 2) if tiles else None


def draw_examples(queries: Sequence[Query], each: int = 4) -> Image.Image:
    """Draw a few queries of every category, of increasing severity."""
    tiles = []
    for category in dict.fromkeys(query.category for query in queries):
        chosen = [
            query for query in queries if query.category == category and query.family != "photo" and query.expected is not None
        ]
        chosen = chosen[:: max(1, len(chosen) // each)][:each]
        tiles += [_tile([Path(query.file)], f"{query.name} severity {query.severity}") for query in chosen]
    return _sheet(tiles, 2 * each)


def _tile(pictures: Sequence[Path | None], caption: str) -> Image.Image:
    tile = Image.new("RGB", (TILE_WIDTH_PX * len(pictures), TILE_HEIGHT_PX + CAPTION_HEIGHT_PX), (28, 28, 32))
    for place, path in enumerate(pictures):
        if path is not None:
            small = Image.open(path).convert("RGB")
            small.thumbnail((TILE_WIDTH_PX - 4, TILE_HEIGHT_PX - 2))
            tile.paste(small, (place * TILE_WIDTH_PX + 2, 1))
    ImageDraw.Draw(tile).text((3, TILE_HEIGHT_PX), caption, fill=(230, 230, 230), font=ImageFont.load_default(10))
    return tile


def _sheet(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    wide, tall = tiles[0].size
    sheet = Image.new("RGB", (wide * min(columns, len(tiles)), tall * -(-len(tiles) // columns)), (28, 28, 32))
    for at, tile in enumerate(tiles):
        sheet.paste(tile, (at % columns * wide, at // columns * tall))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Save as WebP, with a quality that is enough for small pictures."""
    sheet.save(path, "WEBP", quality=WEBP_QUALITY, method=6)
