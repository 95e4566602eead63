"""A page with messages of the simulated Discord that looks like Discord's client, in its dark and its light theme."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal

from infra.sandbox.simulator import VisibleAnswer
from pipeline.demo.message_html import SPOILER_CSS, Reader, render_message

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

THEME_COLOURS: Mapping[Theme, str] = {
    "dark": "--page: #313338; --embed: #2b2d31; --edge: #1e1f22; --text: #dbdee1; --strong: #f2f3f5; --dim: #949ba4;"
    "--link: #00a8fc; --mention: #3c4270; --mention-text: #c9cdfb; --time: #3f4147;"
    "--secondary: #4e5058; --secondary-text: #fff;",
    "light": "--page: #fff; --embed: #f2f3f5; --edge: #e3e5e8; --text: #313338; --strong: #060607; --dim: #5c5e66;"
    "--link: #006ce7; --mention: #e6e8fd; --mention-text: #4752c4; --time: #e9eaed;"
    "--secondary: #e3e5e8; --secondary-text: #1e1f22;",
}

PAGE_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; padding: 16px 16px 18px; background: var(--page); color: var(--text);
  font: 15px/1.375 "gg sans", "Noto Sans", "Helvetica Neue", Helvetica, Arial, sans-serif; }
a { color: var(--link); text-decoration: none; }
b { font-weight: 600; }
.message { display: grid; grid-template-columns: 40px minmax(0, 1fr); column-gap: 14px; }
.message + .message { margin-top: 4px; }
.avatar { width: 40px; height: 40px; border-radius: 50%; background: #5865f2; color: #fff; display: grid; place-items: center;
  font-weight: 600; font-size: 18px; }
.name { font-weight: 500; color: var(--strong); }
.tag { background: #5865f2; color: #fff; border-radius: 4px; padding: 1px 5px; font-size: 10.5px; font-weight: 600;
  vertical-align: 2px; margin-left: 4px; }
.embed { background: var(--embed); border: 1px solid var(--edge); border-left: 4px solid var(--colour); border-radius: 4px;
  padding: 10px 14px 14px 12px; margin-top: 5px; max-width: 520px; width: fit-content; min-width: 240px; display: grid;
  grid-template-columns: minmax(0, 1fr) auto; column-gap: 16px; overflow-wrap: anywhere; font-size: 14px; }
.embed > * { grid-column: 1; }
.embed .title { font-weight: 600; font-size: 15.5px; color: var(--strong); margin-bottom: 4px; }
.embed .field { margin-top: 8px; }
.embed .field b { color: var(--strong); display: block; }
.embed .thumb { grid-column: 2; grid-row: 1 / 9; max-width: 80px; max-height: 80px; border-radius: 4px; margin-top: 4px; }
.embed .large { grid-column: 1 / 3; max-width: min(100%, 400px); max-height: 300px; border-radius: 4px; margin-top: 12px; }
.embed .footer { grid-column: 1 / 3; font-size: 12px; color: var(--dim); margin-top: 8px; }
.mention { background: var(--mention); color: var(--mention-text); border-radius: 3px; padding: 0 2px; font-weight: 500;
  white-space: nowrap; }
.time { background: var(--time); border-radius: 3px; padding: 0 2px; }
code { background: var(--edge); border-radius: 3px; padding: 0 3px; font-size: 13px; }
.row { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.button { border-radius: 8px; padding: 6px 14px; font-size: 14px; font-weight: 500; line-height: 18px; color: #fff; }
.primary { background: #5865f2; } .success { background: #248046; } .danger { background: #da373c; }
.secondary { background: var(--secondary); color: var(--secondary-text); } .off { opacity: .5; }
.button svg { width: 14px; height: 14px; margin-left: 7px; vertical-align: -2px; }
"""


def render_page(messages: Sequence[VisibleAnswer], reader: Reader, theme: Theme) -> str:
    """Return the whole HTML page with these messages one below the other."""
    shown = "".join(_render_row(each, reader, with_name=number == 0) for number, each in enumerate(messages))
    return (
        f'<!doctype html><html lang="{reader.language}"><meta charset="utf-8">'
        f"<style>:root {{ {THEME_COLOURS[theme]} }} {PAGE_STYLE}{SPOILER_CSS}</style>{shown}</html>\n"
    )


def _render_row(seen: VisibleAnswer, reader: Reader, *, with_name: bool) -> str:
    name = escape(seen.message.author.name)
    avatar = f'<div class="avatar">{name[:1]}</div>' if with_name else "<div></div>"
    head = f'<div><span class="name">{name}</span><span class="tag">APP</span></div>' if with_name else ""
    return f'<div class="message">{avatar}<div>{head}{render_message(seen, reader)}</div></div>'
