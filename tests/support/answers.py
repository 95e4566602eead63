"""Builds answers, posts and pieces for tests of the rendering."""

from typing import Any

from contracts.errors import RejectCode
from contracts.events import By, DiscordReply, Evidence, Person, Question, SearchRejected, Verdict
from contracts.ports import AnswerPage, FoundPost, Piece
from infra.discord.wording import localize
from tests.support.gateway import Discord

THUMBNAIL = b"webp"
SEARCH_ID = "1234567890123456789-12"
ASKER_ID = "2234567890123456789"


def found(
    number: int, score: float | None = None, thumbnail: bytes | None = None, evidence: Evidence | None = None, **metadata: Any
) -> FoundPost:
    """Build the post of image `number` * 100, posted by Steve on that day of March 2024."""
    known = {
        "upload_timestamp": f"2024-03-{number:02}T12:30:00+00:00",
        "user_name": "Steve",
        "filename": "sunset.png",
        "channel_id": "77",
    }
    document = {"message_link": f"https://discord.com/channels/1/77/{number}", "metadata": known | metadata}
    return FoundPost(image_id=f"{number}00", score=score, document=document, thumbnail=thumbnail, evidence=evidence)


def piece(best: FoundPost, *others: FoundPost) -> Piece:
    """Build a piece of posts. `best` is the best match; the posts are ordered by time."""
    return Piece(best, sorted([best, *others], key=lambda post: post.document["metadata"]["upload_timestamp"]))


def answer(shown: Piece | None = None, *, verdict: Verdict = "match", **more: Any) -> AnswerPage:
    known = {
        "search_id": SEARCH_ID,
        "asker_id": ASKER_ID,
        "trained": True,
        "locale": "en-US",
        "piece": shown,
        "piece_verdict": verdict if shown else "none",
        "pieces": 1 if shown else 0,
    }
    return AnswerPage(verdict=verdict, **(known | more))


def error_answer(code: RejectCode, reason: str = "A sentence.", by: By = "image") -> AnswerPage:
    """Build the answer to a rejected search."""
    reply = DiscordReply(application_id="1", token="t")
    question = Question(asker=Person(id=ASKER_ID, name="Alex"), requested_at="2024-03-01T12:30:00+00:00", reply=reply)
    rejected = SearchRejected(guild_id="1", search_id=SEARCH_ID, question=question, stage="download", code=code, reason=reason)
    return answer(verdict="error", problem=rejected, by=by)


async def read_answer_text(discord: Discord, interaction: Any) -> str:
    answer = await discord.simulator.answer(interaction)
    assert answer.ephemeral
    return str(answer.content)


def say_in_english(message: str, **values: Any) -> str:
    return localize("en-US", message, **values)
