"""Structured logs: JSON for machines, or a console format for people. A line about a message carries its correlation id."""

import logging
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from contracts.text import escape_controls, escape_lines, replace_surrogates

TEXTS_OF_LINES = frozenset({"exception", "stack"})
"""The fields that have several lines."""

SECRETS = frozenset({"token", "authorization", "password", "discord_token", "mongodb_uri"})


def _without_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in SECRETS & event.keys():
        event[key] = "***"
    return event


def _escape_texts(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape controls, so that a name in a line neither drives the terminal nor begins a line of its own.

    The renderer shows values that are no text as Python writes them, which is escaped already.
    """
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escape_lines(value) if key in TEXTS_OF_LINES else escape_controls(value)
    return event


def _replace_surrogates(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what UTF-8 cannot hold, since some readers of JSON refuse a line with half a character. JSON escapes the rest."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = replace_surrogates(value)
    return event


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`: a progress bar replaces it, so that log lines appear above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(style: Literal["auto", "console", "json"], level: str) -> None:
    """Send the logs of MapSeek and of its libraries to standard error, in one format."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_secrets,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        # Plain tracebacks: the rich ones show local variables, which may hold tokens.
        [
            structlog.processors.format_exc_info,
            _escape_texts,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback),
        ]
        if console
        else [structlog.processors.format_exc_info, _replace_surrogates, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Pillow warns about images that preprocess rejects with a code, or reads without a problem.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for noisy in ("disnake", "aiohttp.access", "nats", "pymongo", "httpx", "PIL"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
