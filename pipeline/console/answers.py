"""Answers of `mapseek find`, for people and for programs."""

from typing import Any

from rich.markup import escape

from contracts.events import Match, Verdict
from infra.discord.answers.embeds import reason
from pipeline.local import LocalAnswer
from stages.matching import verdict_on

WORDS = {"match": "[green]match[/]", "possible": "[yellow]possible[/]", "none": "no match", "error": "[red]error[/]"}
LOCALE = "en"


def answer_json(answer: LocalAnswer) -> dict[str, Any]:
    """One line of `--json`. `error` is there only beside the verdict of that name."""
    line: dict[str, Any] = {
        "query": str(answer.path),
        "verdict": answer.verdict,
        "matches": [match_json(match, answer) for match in answer.matches],
        "elapsed_ms": round(answer.elapsed_ms, 1),
    }
    return line if answer.problem is None else line | {"error": answer.problem}


def match_json(match: Match, answer: LocalAnswer) -> dict[str, Any]:
    """What is told of one match. `score` is how sure it is where `words` say why, else a cosine; `panel` is a part of the piece."""
    document = answer.documents[match.image_id]
    metadata = document["metadata"]
    return {
        "image_id": match.image_id,
        "verdict": _verdict(match, answer),
        "score": match.score,
        "words": reason(LOCALE, match.evidence) if match.evidence else None,
        "panel": match.evidence.panel.model_dump() if match.evidence and match.evidence.panel else None,
        "message_link": document["message_link"],
        "image_url": document["image_url"],
        "author": metadata["user_name"],
        "posted_at": metadata["upload_timestamp"],
        "filename": metadata["filename"],
    }


def answer_lines(answer: LocalAnswer) -> list[str]:
    """An answer in a few lines of rich markup."""
    untrained = "" if answer.trained else " [yellow](untrained model)[/]"
    head = f"{escape(str(answer.path))}: {WORDS[answer.verdict]}{untrained} [dim]{answer.elapsed_ms:.0f} ms[/]"
    if answer.problem is not None:
        return [head, f"  {escape(answer.problem)}"]
    return [head, *(line for match in answer.matches for line in _match_lines(match, answer))]


def _match_lines(match: Match, answer: LocalAnswer) -> list[str]:
    found = match_json(match, answer)
    who = f"{found['filename']} by {found['author']}, {str(found['posted_at'])[:10]}"
    line = f"  {match.score:.4f}  {escape(who)}  {escape(found['message_link'])}"
    return [line] if found["words"] is None else [line, f"          {WORDS[found['verdict']]}: {escape(found['words'])}"]


def _verdict(match: Match, answer: LocalAnswer) -> Verdict:
    matched = answer.matched
    if matched is None or matched.calibration is None:
        return answer.verdict
    return verdict_on(match, matched.calibration, matched.by)
