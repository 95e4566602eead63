"""What an export or an import did, and how it tells of its progress."""

from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[str, int, int | None], None]
"""Called with what is done now, how much of it is done, and how much there is in all, as far as that is known."""


@dataclass(slots=True)
class Summary:
    """Entries by stream, blobs and their bytes; `missing` names the blobs that were not there."""

    entries: dict[str, int] = field(default_factory=dict)
    blobs: int = 0
    blob_bytes: int = 0
    missing: list[str] = field(default_factory=list)
