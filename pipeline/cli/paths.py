"""Checks of the files and folders that a command is given, before its work begins; and writing HTML reports.

A report refers to nothing outside itself: its pictures are data URIs.
"""

import base64
import errno
import html
import os
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import MapSeekError
from contracts.text import escape_controls


def why_unreadable(file: Path) -> str | None:
    """Return why a file cannot be read, in the words of the system, or None if it can be read."""
    try:
        if file.is_dir():
            return os.strerror(errno.EISDIR)
        file.stat()
    except OSError as error:
        return error.strerror
    return None if os.access(file, os.R_OK) else os.strerror(errno.EACCES)


def refuse_unreadable(files: Sequence[Path]) -> None:
    """Raise MapSeekError if none of the files can be read. If only some are unreadable, the command reports each one later."""
    reasons = [why_unreadable(file) for file in files]
    if not all(reasons) or not files:
        return
    file, reason = files[0], reasons[0]
    if len(files) == 1:
        raise MapSeekError(f"{file} cannot be read ({reason}): correct its path or its permissions.")
    raise MapSeekError(
        f"None of the {len(files)} files can be read, the first is {file} ({reason}): correct their paths or their permissions."
    )


def refuse_unwritable(folder: Path) -> None:
    """Raise MapSeekError if a report cannot be written to the folder, which need not exist yet."""
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise _unwritable_error(folder, os.strerror(errno.ENOTDIR))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable_error(folder, os.strerror(errno.EACCES))


def write_report(folder: Path, page: str) -> Path:
    """Write a report into the folder and return its path. Raises MapSeekError if that fails."""
    path = folder.absolute() / "index.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _unwritable_error(folder, error.strerror) from None
    return path


def _unwritable_error(folder: Path, reason: str | None) -> MapSeekError:
    return MapSeekError(f"The report cannot be written to {folder} ({reason}): choose another folder with --report.")


def escape_html(text: str) -> str:
    """Return a text from outside as it may stand in a page, with controls in it shown escaped."""
    return html.escape(escape_controls(text))


def to_data_uri(data: bytes, kind: str) -> str:
    """Return a picture as a data URI. `kind` is png, jpeg or webp."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
