"""The report of a comparison: one HTML file that refers to nothing outside itself but the links of messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import BlobMissing
from contracts.events import Match
from contracts.ports import BlobStore, Document
from pipeline.cli.paths import escape_html, to_data_uri
from pipeline.compare.queries import ComparedArchive, CompareQuery, GenerationAnswer
from pipeline.compare.score import Change, includes_any
from stages.canonical_image import make_thumbnail

COMPARE_CSS = """
:root { color-scheme: light dark; --ink: #1d1f24; --paper: #f7f6f2; --card: #fff; --line: #dcd9d0; --dim: #6b6f78;
  --good: #3d8b37; --bad: #c0392b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e7e1; --paper: #17181b; --card: #212327; --line: #35383e; --dim: #9a9ea8; --good: #6cbf63; --bad: #e8705f; }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 2rem 1rem; background: var(--paper);
  color: var(--ink); overflow-wrap: anywhere; }
h1 { margin: 0 0 .2rem; } .lead { color: var(--dim); margin: 0 0 1.2rem; } h2 { margin: 2rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0 0 .6rem; } small, .dim { color: var(--dim); font-weight: normal; font-size: .85rem; }
table { border-collapse: collapse; background: var(--card); width: 100%; }
td, th { border: 1px solid var(--line); padding: .3rem .8rem; text-align: left; } th { font-weight: 600; }
td + td { font-variant-numeric: tabular-nums; }
.note { border-left: 4px solid #e5a700; padding: .5rem .8rem; background: var(--card); }
article { display: grid; grid-template-columns: 300px 1fr 1fr; gap: 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-left: 5px solid var(--line); border-radius: 10px; padding: 1rem; margin-bottom: 1rem; }
article.better { border-left-color: var(--good); } article.worse { border-left-color: var(--bad); }
article > div { min-width: 0; } img { max-width: 100%; image-rendering: pixelated; border-radius: 4px; display: block; }
.query > img { max-height: 260px; min-width: 160px; object-fit: contain; object-position: left; margin-bottom: .8rem; }
.words { font-size: 1.2rem; }
.piece { display: grid; grid-template-columns: 72px 1fr; gap: .7rem; align-items: start; padding: .5rem;
  border: 1px solid var(--line); border-radius: 6px; margin-bottom: .5rem; font-size: .9rem; }
.piece.expected { border-color: var(--good); } .piece.refused { border-color: var(--bad); } .piece a { color: inherit; }
.chip { border-radius: 5px; padding: .1rem .5rem; background: var(--line); font-size: .85rem; }
.right { color: var(--good); font-weight: 600; } .wrong { color: var(--bad); font-weight: 600; }
@media (max-width: 800px) { article { grid-template-columns: 1fr; } }
"""

VERDICT_LABELS = {"match": "match", "possible": "possible", "none": "no match", "error": "cannot read words"}
CHANGE_HEADINGS = {-1: "Worse", 1: "Better", 0: "Different"}


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An archived image as the report shows it. `thumbnail` is a data URI, or empty if the blob is lost."""

    caption: str
    link: str
    thumbnail: str


@dataclass(frozen=True, slots=True)
class ReportPictures:
    """The archived images by id, and the pictures of queries as data URIs, by their names in the store."""

    images: dict[str, ShownImage]
    queries: dict[str, str]


async def collect_pictures(changes: Sequence[Change], archive: ComparedArchive) -> ReportPictures:
    """Read the pictures that the report of these changes shows."""
    wanted: set[str] = set()
    for change in changes:
        wanted |= change.query.expected
        wanted |= {piece.image_id for answer in (change.before, change.after) for piece in answer.pieces}
    images = {
        image_id: await _read_image(entry.document, archive.blobs)
        for image_id, entry in (await archive.catalogue.entries(wanted)).items()
        if "metadata" in entry.document
    }
    names = {change.query.picture for change in changes if change.query.picture}
    return ReportPictures(images, {name: await _read_query_picture(name, archive) for name in sorted(names)})


async def _read_image(document: Document, blobs: BlobStore) -> ShownImage:
    metadata = document["metadata"]
    caption = f"{metadata['filename']} by {metadata['user_name']}, {metadata['upload_timestamp'][:10]}"
    try:
        thumbnail = to_data_uri(await blobs.get(document["media"]["thumbnail"]), "webp")
    except (BlobMissing, KeyError):
        thumbnail = ""
    return ShownImage(caption, document["message_link"], thumbnail)


async def _read_query_picture(name: str, archive: ComparedArchive) -> str:
    """Return a query's picture as a small data URI: the report may have thousands of them."""
    data = await archive.query_store.get(name)
    return to_data_uri(await archive.workers.run(make_thumbnail, data), "webp")


def render_compare_report(
    names: tuple[str, str],
    table: Sequence[Sequence[str]],
    count: int,
    changes: Sequence[Change],
    pictures: ReportPictures,
    note: str | None,
) -> str:
    """Return the whole page. `table` has the numbers as text, headings first. `note` is a warning about the numbers."""
    first, second = map(escape_html, names)
    warning = f'<p class="note">{escape_html(note)}</p>' if note else ""
    sections = "".join(
        _render_section(sign, [each for each in changes if _find_sign(each) == sign], names, pictures) for sign in CHANGE_HEADINGS
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{first} and {second}</title><style>{COMPARE_CSS}</style><h1>{first} and {second}</h1>"
        f'<p class="lead">{count} queries, run in both generations; {len(changes)} of them are answered differently.</p>'
        f"{warning}{_render_table(table)}{sections}</html>\n"
    )


def _find_sign(change: Change) -> int:
    return (change.gain > 0) - (change.gain < 0)


def _render_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{escape_html(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape_html(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"


def _render_section(sign: int, changes: Sequence[Change], names: tuple[str, str], pictures: ReportPictures) -> str:
    if not changes:
        return ""
    articles = "".join(_render_change(change, names, pictures) for change in changes)
    return f"<h2>{CHANGE_HEADINGS[sign]} in {escape_html(names[1])} <small>{len(changes)}</small></h2>{articles}"


def _render_change(change: Change, names: tuple[str, str], pictures: ReportPictures) -> str:
    look = {-1: "worse", 1: "better", 0: "different"}[_find_sign(change)]
    answers = zip(names, (change.before, change.after), change.right, strict=True)
    cards = "".join(_render_answer(name, answer, right, change.query, pictures) for name, answer, right in answers)
    return f'<article class="{look}">{_render_query(change.query, pictures)}{cards}</article>'


def _render_query(query: CompareQuery, pictures: ReportPictures) -> str:
    if query.picture is None:
        picture = f'<p class="words">{escape_html(query.name)}</p>'
    else:
        picture = f'<img alt="the query" src="{pictures.queries[query.picture]}">'
    known = [pictures.images[image_id] for image_id in sorted(query.expected) if image_id in pictures.images]
    if known:
        right = '<p class="dim">The right answer:</p>' + "".join(_render_piece(each, "", "") for each in known[:1])
    else:
        right = f'<p class="dim">{"Nothing in the archive is right." if query.unmatched else "Only wrong answers are known."}</p>'
    return f'<div class="query"><h3>{escape_html(query.name)} <small>{escape_html(query.kind)}</small></h3>{picture}{right}</div>'


def _render_answer(name: str, answer: GenerationAnswer, right: bool | None, query: CompareQuery, pictures: ReportPictures) -> str:
    mark = {True: '<span class="right">right</span>', False: '<span class="wrong">wrong</span>', None: "not judged"}[right]
    heading = f'<h3>{escape_html(name)} <span class="chip">{VERDICT_LABELS[answer.verdict]}</span> {mark}</h3>'
    pieces = "".join(_render_match(piece, query, pictures) for piece in answer.pieces) or '<p class="dim">Nothing was shown.</p>'
    return f"<div>{heading}{pieces}<small>{answer.milliseconds:.1f} ms</small></div>"


def _render_match(piece: Match, query: CompareQuery, pictures: ReportPictures) -> str:
    look = "expected" if includes_any(piece, query.expected) else "refused" if includes_any(piece, query.wrong) else ""
    image = pictures.images.get(piece.image_id, ShownImage(piece.image_id, "", ""))
    more = f" and {len(piece.posts)} more post{'s' if len(piece.posts) > 1 else ''}" if piece.posts else ""
    return _render_piece(image, look, f"<b>{piece.score:.4f}</b>{more}<br>")


def _render_piece(image: ShownImage, look: str, words: str) -> str:
    thumbnail = f'<img alt="an archived picture" src="{image.thumbnail}">' if image.thumbnail else ""
    link = f'<a href="{escape_html(image.link)}">{escape_html(image.link)}</a>' if image.link else ""
    return f'<div class="piece {look}"><div>{thumbnail}</div><div>{words}{escape_html(image.caption)}<br>{link}</div></div>'
