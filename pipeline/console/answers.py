"""Answers of `mapseek find`, for people and for programs."""

from typing import Any

from rich.markup import escape

from contracts.events import Match
from pipeline.local import LocalAnswer

WORDS = {"match": "[green]match[/]", "possible": "[yellow]possible[/]", "none": "no match", "error": "[red]error[/]"}


def answer_json(answer: LocalAnswer) -> dict[str, Any]:
    """One line of `--json`. `error` is there only beside the verdict of that name."""
    line: dict[str, Any] = {
        "query": str(answer.path),
        "verdict": answer.verdict,
        "matches": [_match_json(match, answer) for match in answer.matches],
        "elapsed_ms": round(answer.elapsed_ms, 1),
    }
    return line if answer.problem is None else line | {"error": answer.problem}


def _match_json(match: Match, answer: LocalAnswer) -> dict[str, Any]:
    document = answer.documents[match.image_id]
    metadata = document["metadata"]
    return {
        "image_id": match.image_id,
        "score": match.score,
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
    return [head, *(_match_line(match, answer) for match in answer.matches)]


def _match_line(match: Match, answer: LocalAnswer) -> str:
    found = _match_json(match, answer)
    who = f"{found['filename']} by {found['author']}, {str(found['posted_at'])[:10]}"
    return f"  {match.score:.4f}  {escape(who)}  {escape(found['message_link'])}"
