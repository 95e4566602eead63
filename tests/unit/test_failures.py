"""What is shown of a dead letter: everything but interaction tokens, with which anybody could send messages as the bot."""

from typing import Any

import orjson
import pytest

from contracts.events import AttemptFailed, DiscordReply, Question
from pipeline.engine.dead_letters import Delivery, WorkerIdentity, build_incident, to_one_line
from pipeline.failures.letters import Letter
from pipeline.failures.render import count_reasons, describe_letter, find_tokens, summarise_letter
from tests.support.facts import ALEX, MOMENT, posted, requested

TOKEN = "aW50ZXJhY3Rpb24"
WORKER = WorkerIdentity("download", "image", "download-image")


def letter(body: bytes, place: str = "mapseek.failure.download.search.4", **headers: str) -> Letter:
    given = {"stream": "SEARCHES", "sequence": "4", "attempts": "5", "round": "0", "consumer": "download-search", "reason": "no"}
    return Letter(9, place, {f"mapseek-{name}": value for name, value in {**given, **headers}.items()}, body)


def build_search_body() -> bytes:
    reply = DiscordReply(application_id="1", token=TOKEN)
    question = Question(asker=ALEX, requested_at=MOMENT, reply=reply)
    return orjson.dumps(requested().model_copy(update={"question": question}).model_dump(mode="json"))


def test_a_token_is_never_shown() -> None:
    shown = describe_letter(
        letter(build_search_body(), reason=f"POST /webhooks/1/{TOKEN} failed", traceback=f"line 1\\nline {TOKEN}")
    )
    assert TOKEN not in orjson.dumps(shown).decode()
    assert shown["payload"]["question"]["reply"]["token"] == "***"
    assert shown["reason"] == "POST /webhooks/1/*** failed"
    assert shown["traceback"] == "line 1\nline ***"


def test_a_token_in_an_unreadable_body_is_not_shown() -> None:
    cut = build_search_body()[:-20]
    assert TOKEN.encode() in cut
    shown = describe_letter(letter(cut))
    assert TOKEN[:8] not in orjson.dumps(shown).decode()
    assert TOKEN not in orjson.dumps(describe_letter(letter(b'{"token":"' + TOKEN.encode()))).decode()


def test_long_values_are_cut() -> None:
    shown = describe_letter(letter(orjson.dumps({"vector": "A" * 3000, "all": ["b" * 3000]})))
    assert shown["payload"] == {"vector": f"{'A' * 40}... (3000 characters)", "all": [f"{'b' * 40}... (3000 characters)"]}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"3"])
def test_an_unreadable_body_is_shown(body: bytes) -> None:
    assert (
        describe_letter(letter(body))["payload"]
        == {b"": "", b"{": "{", b"\xff\xfe\x00": "\\xff\\xfe\x00", b"[1]": [1], b"3": 3}[body]
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [({"token": "a"}, ["a"]), ({"x": [{"token": "a", "y": {"token": "b"}}]}, ["a", "b"]), ({"token": ""}, []), (3, [])],
)
def test_tokens_are_found_at_any_depth(value: Any, found: list[str]) -> None:
    assert list(find_tokens(value)) == found


def test_an_id_has_stage_lane_position_and_generation() -> None:
    about = {"consumer": "embed-image-g2", "subject": "mapseek.image.preprocessed.v1.7.9.p1"}
    bound = letter(b"{}", "mapseek.failure.embed.image.12.g2", **about)
    assert (bound.id, bound.about) == ("embed/image/12/g2", ("7", "9"))
    assert bound.worker == WorkerIdentity("embed", "image", "embed-image-g2", "g2")
    assert summarise_letter(bound)["entity"] == "9"


@pytest.mark.parametrize("subject", ["mapseek.image", "mapseek.image.posted.v1.7", "mapseek.image.posted.v1.7.n ine", "x"])
def test_a_subject_without_an_entity_has_no_incident(subject: str) -> None:
    delivery = Delivery("IMAGES", 3, 1, subject, {}, b"")
    assert build_incident(AttemptFailed, delivery, WORKER, "host/1", reason="no", delay_s=1.0) is None


def test_an_incident_has_its_message_attempt_and_process() -> None:
    delivery = Delivery("IMAGES", 3, 2, "mapseek.image.posted.v1.7.9.10", {}, b"unreadable", round=1)
    fact = build_incident(AttemptFailed, delivery, WORKER, "mapseek/host/1", reason="no", delay_s=1.0)
    assert fact is not None
    assert fact.key == (posted().guild_id, "9", "download-image", "3", "1", "2")
    assert fact.process == "mapseek/host/1"


def test_reasons_are_counted_without_regard_to_ids_and_blobs() -> None:
    reasons = [f"the pixels {digit * 64} are lost" for digit in "abc"] + ["image 1573617967382396952 is lost", "no"]
    counted = count_reasons(letter(b"{}", reason=reason) for reason in reasons)
    assert counted == {"download: the pixels * are lost": 3, "download: image * is lost": 1, "download: no": 1}


def test_a_reason_is_one_line() -> None:
    assert to_one_line("a\n  b\tc") == "a b c"
    assert to_one_line(" \n") == "no reason given"
    assert len(to_one_line("x" * 1000)) == 500
