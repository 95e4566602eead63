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
