"""Embeds on the wire: the files that they show by `attachment://name` have URLs there."""

from collections.abc import Callable

from infra.simulator.errors import JSON
from infra.simulator.model import Attachment

Sign = Callable[[Attachment], str]
"""Issues a fresh URL for a file."""

_SCHEME = "attachment://"
_IMAGES = ("image", "thumbnail")
_ICONS = ("author", "footer")


def embedded_names(embeds: list[JSON]) -> set[str]:
    """The files that embeds show by `attachment://name`."""
    urls = [(embed.get(part) or {}).get("url") for embed in embeds for part in _IMAGES]
    urls += [(embed.get(part) or {}).get("icon_url") for embed in embeds for part in _ICONS]
    return {url.removeprefix(_SCHEME) for url in urls if url is not None and url.startswith(_SCHEME)}


def shown_embed(item: JSON, files: dict[str, Attachment], sign: Sign) -> JSON:
    """An embed as Discord shows it, with URLs issued now for the files in it."""
    shown: JSON = {"type": "rich", **item}
    for part in _IMAGES:
        url = (item.get(part) or {}).get("url") or ""
        if url.startswith(_SCHEME):
            file = files[url.removeprefix(_SCHEME)]
            signed = sign(file)
            shown[part] = {"url": signed, "proxy_url": signed, "width": file.width or 0, "height": file.height or 0}
    for part in _ICONS:
        url = (item.get(part) or {}).get("icon_url") or ""
        if url.startswith(_SCHEME):
            signed = sign(files[url.removeprefix(_SCHEME)])
            shown[part] = {**item[part], "icon_url": signed, "proxy_icon_url": signed}
    return shown
