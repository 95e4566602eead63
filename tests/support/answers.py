"""Answers to show: posts, pieces and what is said of them."""

from typing import Any

from contracts.errors import RejectCode
from contracts.events import By, DiscordReply, Evidence, Person, Question, SearchRejected, Verdict
from contracts.ports import Answer, Found, Piece
from infra.discord.wording import say
from tests.support.gateway import Discord

THUMBNAIL = b"webp"
SEARCH = "1234567890123456789-12"
ASKER = "2234567890123456789"


def found(
    number: int, score: float | None = None, thumbnail: bytes | None = None, evidence: Evidence | None = None, **metadata: Any
) -> Found:
    """The post of image 100 and so on, posted by Steve on that day of March 2024."""
    known = {
        "upload_timestamp": f"2024-03-{number:02}T12:30:00+00:00",
        "user_name": "Steve",
        "filename": "sunset.png",
        "channel_id": "77",
    }
    document = {"message_link": f"https://discord.com/channels/1/77/{number}", "metadata": known | metadata}
    return Found(image_id=f"{number}00", score=score, document=document, thumbnail=thumbnail, evidence=evidence)


def piece(best: Found, *others: Found) -> Piece:
    """A piece of these posts, by their days."""
    return Piece(best, sorted([best, *others], key=lambda post: post.document["metadata"]["upload_timestamp"]))


def answer(shown: Piece | None = None, *, verdict: Verdict = "match", **more: Any) -> Answer:
    known = {
        "search_id": SEARCH,
        "asker_id": ASKER,
        "trained": True,
        "locale": "en-US",
        "piece": shown,
        "piece_verdict": verdict if shown else "none",
        "pieces": 1 if shown else 0,
    }
    return Answer(verdict=verdict, **(known | more))


def problem(code: RejectCode, reason: str = "A sentence.", by: By = "image") -> Answer:
    """The answer to a search that was rejected."""
    reply = DiscordReply(application_id="1", token="t")
    question = Question(asker=Person(id=ASKER, name="Alex"), requested_at="2024-03-01T12:30:00+00:00", reply=reply)
    rejected = SearchRejected(guild_id="1", search_id=SEARCH, question=question, stage="download", code=code, reason=reason)
    return answer(verdict="error", problem=rejected, by=by)


async def said(discord: Discord, interaction: Any) -> str:
    answer = await discord.simulator.answer(interaction)
    assert answer.ephemeral
    return str(answer.content)


def sentence(message: str, **values: Any) -> str:
    return say("en-US", message, **values)
