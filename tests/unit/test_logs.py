"""Log lines: one format for ours and the libraries', correlation ids, and no secret."""

import logging

import orjson
import pytest
import structlog

from pipeline.logging import configure_logging

pytestmark = pytest.mark.usefixtures("restored_loggers")


def test_json_lines_carry_the_correlation_id_of_their_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    with structlog.contextvars.bound_contextvars(correlation_id="interaction-11", stage="embed"):
        structlog.get_logger().info("done", facts=["image.embedded"])
        logging.getLogger("some.library").warning("from %s", "outside")
    ours, theirs = (orjson.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ours["event"] == "done"
    assert theirs["event"] == "from outside"
    assert ours["correlation_id"] == theirs["correlation_id"] == "interaction-11"


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_secret_is_shown_neither_as_a_value_nor_as_a_local_variable(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(style, "info")  # type: ignore[arg-type]

    def fails(token: str) -> None:
        raise ValueError(f"a token of {len(token)} characters")

    secret = "s3" + "cret"
    structlog.get_logger().info("login", token=secret)
    try:
        fails(secret)
    except ValueError:
        structlog.get_logger().exception("failed")
    shown = capsys.readouterr().err
    assert "ValueError" in shown
    assert secret not in shown


def test_levels_below_the_wanted_one_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet")
    assert capsys.readouterr().err == ""


HOSTILE_TEXT = "a\x1b[2J\n2026-11-30 forged\u202e\udcff"


def test_a_name_in_a_console_line_neither_drives_the_terminal_nor_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console", "info")
    structlog.get_logger("ours").info("read", name=HOSTILE_TEXT, keys=(HOSTILE_TEXT,))
    logging.getLogger("some.library").warning("from %s", HOSTILE_TEXT)
    ours, theirs = capsys.readouterr().err.splitlines()
    for line in (ours, theirs):
        assert line.isprintable()
        assert "forged" in line
    assert r"from a\x1b[2J\n2026-11-30 forged\u202e\xff" in theirs


def test_the_message_of_an_error_does_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console", "info")
    try:
        raise ValueError(HOSTILE_TEXT)
    except ValueError:
        structlog.get_logger().exception("failed")
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.isprintable()] == []
    assert lines[-2:] == [r"ValueError: a\x1b[2J", r"2026-11-30 forged\u202e\xff"]


def test_a_name_in_a_json_line_is_plain_ascii_that_every_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    structlog.get_logger().info("read", name=HOSTILE_TEXT)
    line = capsys.readouterr().err
    assert line.isascii()
    assert orjson.loads(line)["name"] == HOSTILE_TEXT.replace("\udcff", r"\xff")
