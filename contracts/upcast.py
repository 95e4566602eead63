"""From the bytes of any version ever written to today's fact: pure, one step a version."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from contracts.errors import Malformed
from contracts.events import FACTS
from contracts.events.base import Fact

Document = dict[str, Any]
Upcaster = Callable[[Document], Document]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""The step from a version to the next, by type name and the version it starts from."""


def fact_of(
    type_name: str,
    version: int,
    document: object,
    *,
    facts: Mapping[str, type[Fact]] = FACTS,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> Fact:
    """Read a payload of any known version. Raises Malformed for an unknown kind, an unknown version or a wrong shape."""
    kind = facts.get(type_name)
    if kind is None:
        raise Malformed(f"no fact is called {type_name!r}")
    if not isinstance(document, dict):
        raise Malformed(f"the payload of {type_name} is not a JSON object")
    for step in range(version, kind.version):
        upcast = upcasters.get((type_name, step))
        if upcast is None:
            raise Malformed(f"{type_name} v{step} cannot be read any more: it has no upcaster")
        document = upcast(document)
    if version > kind.version:
        raise Malformed(f"{type_name} v{version} was written by a newer MapSeek; this one reads up to v{kind.version}")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise Malformed(f"{type_name} v{version}: {where}: {first['msg']}") from None
