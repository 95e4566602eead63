"""Render the answers of `mapseek find`: as lines of text, as JSON, and as an HTML page that explains them.

The page is one file. It refers to nothing outside itself but the links of messages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from contracts.events import Match, Verdict
from contracts.ports import is_spoiler
from contracts.text import escape_controls, replace_surrogates
from infra.discord.answers.embeds import format_reason, to_percent
from pipeline.cli.paths import escape_html, to_data_uri
from pipeline.local.archive_and_find import LocalAnswer
from stages.matching import judge_match

VERDICT_STYLES = {"match": "green", "possible": "yellow", "none": "", "error": "red"}
ANSWER_LOCALE = "en"

ANSWERS_CSS = """
:root { color-scheme: light dark; --ink: #1d1f24; --paper: #f7f6f2; --card: #fff; --line: #dcd9d0; --dim: #6b6f78; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e7e1; --paper: #17181b; --card: #212327; --line: #35383e; --dim: #9a9ea8; }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 2rem 1rem; background: var(--paper);
  color: var(--ink); overflow-wrap: anywhere; }
section, article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; margin: 0 0 1rem; }
article { border-left: 5px solid var(--line); } .match { border-left-color: #7fb238; } .possible { border-left-color: #e5a700; }
h2, h3 { margin: 0 0 .5rem; } p { margin: .2rem 0 .6rem; } .dim { color: var(--dim); font-weight: normal; }
img { max-width: 100%; border-radius: 4px; display: block; } .query { max-height: 260px; margin-bottom: 1rem; }
"""

VERDICT_NAMES = {"match": "match", "possible": "possible match", "none": "no match", "error": "error"}


def answer_to_json(answer: LocalAnswer) -> dict[str, Any]:
    """Return what one line of `--json` shows. It has the key `error` only if the verdict is error."""
    line: dict[str, Any] = {
        "query": replace_surrogates(str(answer.path)),
        "verdict": answer.verdict,
        "matches": [match_to_json(match, answer) for match in answer.matches],
        "elapsed_ms": round(answer.elapsed_ms, 1),
    }
    return line if answer.problem is None else line | {"error": answer.problem}


def match_to_json(match: Match, answer: LocalAnswer) -> dict[str, Any]:
    """Return what `--json` shows of one match.

    `score` is a probability if `words` explain the match, else a cosine. `panel` is the part of the piece that matches.
    """
    document = answer.documents[match.image_id]
    metadata = document["metadata"]
    return {
        "image_id": match.image_id,
        "verdict": _judge_match(match, answer),
        "score": match.score,
        "words": format_reason(ANSWER_LOCALE, match.evidence) if match.evidence else None,
        "panel": match.evidence.panel.model_dump() if match.evidence and match.evidence.panel else None,
        "message_link": document["message_link"],
        "image_url": document["image_url"],
        "author": metadata["user_name"],
        "posted_at": metadata["upload_timestamp"],
        "filename": metadata["filename"],
    }


def format_answer(answer: LocalAnswer) -> list[Text]:
    """Return an answer as a few lines. Controls in names are shown escaped."""
    untrained = ("", "") if answer.trained else (" (untrained model)", "yellow")
    name, verdict = escape_controls(str(answer.path)), (VERDICT_NAMES[answer.verdict], VERDICT_STYLES[answer.verdict])
    head = Text.assemble(f"{name}: ", verdict, untrained, " ", (f"{answer.elapsed_ms:.0f} ms", "dim"))
    if answer.problem is not None:
        return [head, Text(f"  {escape_controls(answer.problem)}")]
    return [head, *(line for match in answer.matches for line in _format_match(match, answer))]


def _format_match(match: Match, answer: LocalAnswer) -> list[Text]:
    found = match_to_json(match, answer)
    who = f"{found['filename']} by {found['author']}, {str(found['posted_at'])[:10]}"
    line = Text(f"  {match.score:.4f}  {escape_controls(who)}  {escape_controls(found['message_link'])}")
    if found["words"] is None:
        return [line]
    verdict = (VERDICT_NAMES[found["verdict"]], VERDICT_STYLES[found["verdict"]])
    return [line, Text.assemble(" " * 10, verdict, f": {escape_controls(found['words'])}")]


def _judge_match(match: Match, answer: LocalAnswer) -> Verdict:
    matched = answer.matched
    if matched is None or matched.calibration is None:
        return answer.verdict
    return judge_match(match, matched.calibration, matched.by)


@dataclass(frozen=True, slots=True)
class ExplainedAnswer:
    """An answer with its pictures, as far as there are any: `query` (WebP), and `drawn` (PNG): by image id, why it was found."""

    answer: LocalAnswer
    query: bytes | None
    drawn: Mapping[str, bytes]


def render_answers_page(explained: Sequence[ExplainedAnswer]) -> str:
    """Return the whole page."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Found by MapSeek</title><style>{ANSWERS_CSS}</style>{''.join(map(_render_section, explained))}</html>\n"
    )


def _format_likeness(match: Match, verdict: Verdict) -> str:
    """Say how sure a match is, in the words of Discord's answers: `99% match`, `Possible match: 70% similar`."""
    percent = f"{to_percent(match.score)}%"
    if match.evidence is None:
        return f"{VERDICT_NAMES[verdict].capitalize()}: {percent} similar"
    return f"{percent} match" if verdict == "match" else f"{VERDICT_NAMES[verdict].capitalize()}: {percent}"


def _render_section(explained: ExplainedAnswer) -> str:
    answer = explained.answer
    name, verdict = escape_html(answer.path.name), VERDICT_NAMES[answer.verdict]
    query = (
        f'<img class="query" alt="the picture you searched with" src="{to_data_uri(explained.query, "webp")}">'
        if explained.query
        else ""
    )
    problem = f"<p>{escape_html(answer.problem)}</p>" if answer.problem else ""
    matches = "".join(_render_match(match, explained) for match in answer.matches)
    head = f'<h2>{name} <span class="dim">{verdict}, {answer.elapsed_ms:.0f} ms</span></h2>'
    return f"<section>{head}{query}{problem}{matches}</section>"


def _render_match(match: Match, explained: ExplainedAnswer) -> str:
    shown = match_to_json(match, explained.answer)
    title = f"{escape_html(shown['filename'])} by {escape_html(shown['author'])}, {escape_html(str(shown['posted_at'])[:10])}"
    words = f" {escape_html(shown['words'])}" if shown["words"] else ""
    link = f'<a href="{escape_html(shown["message_link"])}">{escape_html(shown["message_link"])}</a>'
    drawn = explained.drawn.get(match.image_id)
    picture = f'<img alt="why this match" src="{to_data_uri(drawn, "png")}">' if drawn else ""
    if picture and is_spoiler(explained.answer.documents[match.image_id]):
        picture = f"<details><summary>Spoiler</summary>{picture}</details>"
    likeness = f"<b>{_format_likeness(match, shown['verdict'])}.</b>{words}"
    return f'<article class="{shown["verdict"]}"><h3>{title}</h3><p>{likeness}<br>{link}</p>{picture}</article>'
