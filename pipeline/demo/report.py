"""The demo's report: one HTML file that refers to nothing outside itself. It shows each query beside the answer."""

from collections.abc import Mapping, Sequence
from html import escape

from pipeline.cli.paths import to_data_uri
from pipeline.demo.message_html import SPOILER_CSS, Reader, render_message
from pipeline.demo.play import WHY_LABEL, AskedQuery
from pipeline.demo.scenes import DemoScene
from pipeline.demo.script import PIECE_COUNT
from pipeline.demo.terminal import Terminal

DEMO_CSS = """
:root { color-scheme: light dark; --ink: #1d1f24; --paper: #f7f6f2; --card: #fff; --line: #dcd9d0; --dim: #6b6f78; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e7e1; --paper: #17181b; --card: #212327; --line: #35383e; --dim: #9a9ea8; }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1060px; padding: 2rem 1rem; background: var(--paper);
  color: var(--ink); }
h1 { margin: 0 0 .2rem; } .lead { color: var(--dim); margin: 0 0 1.2rem; }
.note { border-left: 4px solid #e5a700; padding: .5rem .8rem; background: var(--card); margin-bottom: 1.5rem; }
article { display: grid; grid-template-columns: 300px 1fr; gap: 1.4rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 1rem; margin-bottom: 1rem; }
article > div { min-width: 0; } img { max-width: 100%; image-rendering: pixelated; border-radius: 4px; display: block; }
.query img { max-height: 260px; margin: 0 auto; } h2 { font-size: 1rem; margin: 0 0 .5rem; } h2 small { color: var(--dim);
  font-weight: normal; }
.embed { --edge: var(--line); border-left: 4px solid var(--colour);
  background: var(--paper); border-radius: 4px; padding: .6rem .8rem; margin-bottom: .5rem;
  overflow: hidden; }
article > div { overflow-wrap: anywhere; }
.embed .title { font-weight: 600; } .embed .thumb { float: right; max-width: 72px; margin-left: .8rem; }
.embed .large { max-height: 190px; margin-top: .5rem; }
.why .large { max-height: none; image-rendering: auto; } .footer { color: var(--dim); font-size: .8rem; margin-top: .4rem; }
.mention { background: #5865f233; border-radius: 4px; padding: 0 .2rem; }
.button { display: inline-block; background: var(--line); border-radius: 5px; padding: .3rem .8rem; margin: 0 .4rem .4rem 0;
  font-size: .85rem; } .primary { background: #5865f2; color: #fff; } .success { background: #2d7d46; color: #fff; }
.danger { background: #c0392b; color: #fff; } .button svg { width: 13px; height: 13px; margin-left: 6px; vertical-align: -2px; }
 .off { opacity: .5; } h1 + .scene { margin-top: 1rem; }
.wide { grid-template-columns: minmax(0, 1fr); gap: .6rem; } pre { font: 12.5px/1.35 ui-monospace, monospace; margin: 0;
  padding: .7rem .9rem; background: #1e2024; color: #dedbd2; border-radius: 6px; overflow-x: auto; }
.right { color: #3d8b37; } .wrong { color: #c0392b; font-weight: bold; }
table { border-collapse: collapse; margin-bottom: 1.5rem; background: var(--card); } td, th { border: 1px solid var(--line);
  padding: .25rem .7rem; text-align: right; } td:first-child, th:first-child, td:nth-child(2) { text-align: left; }
@media (max-width: 700px) { article { grid-template-columns: 1fr; } }
"""


def render_demo_report(
    archived: int,
    asked: Sequence[AskedQuery],
    acts: Mapping[str, Sequence[DemoScene]],
    stages: Sequence[Sequence[str]],
    reader: Reader,
    trained: bool,
) -> str:
    """Return the whole page.

    `acts` are scenes by heading, and `stages` the rows of the status table with the headings first.
    """
    right = sum(each.right for each in asked)
    untrained = (
        ""
        if trained
        else '<p class="note">The model is <b>untrained</b>: a small open_clip tower with seeded random weights. '
        "It cannot tell apart pictures that differ only in details. Matches that are verified by details do not depend on it.</p>"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>MapSeek demo</title><style>{DEMO_CSS}{SPOILER_CSS}</style><h1>MapSeek demo</h1>"
        f'<p class="lead">{archived} of {PIECE_COUNT} posted pieces archived; {right} of {len(asked)} searches answered rightly. '
        "Each search was made with the slash command <code>/find</code>. Beside the query is what the member saw.</p>"
        f"{untrained}{_render_table(stages)}"
        f"{''.join(_render_query(number, each, reader) for number, each in enumerate(asked, 1))}"
        f"{''.join(_render_act(heading, scenes, reader) for heading, scenes in acts.items())}</html>\n"
    )


def _render_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"


def _render_query(number: int, asked: AskedQuery, reader: Reader) -> str:
    mark = _render_mark(asked.right)
    heading = f"<h2>{number}. {escape(asked.query.words)} <small>{asked.milliseconds:.0f} ms, {mark}</small></h2>"
    answer = "<p>No answer came in time.</p>" if asked.answer is None else render_message(asked.answer, reader)
    if asked.why is not None:
        answer += f'<div class="why"><p>After pressing “{WHY_LABEL}”:</p>{render_message(asked.why, reader)}</div>'
    return (
        f'<article><div class="query">{heading}<img alt="query {number}" '
        f'src="{to_data_uri(asked.file, asked.query.format)}"></div><div>{answer}</div></article>'
    )


def _render_act(heading: str, scenes: Sequence[DemoScene], reader: Reader) -> str:
    return f"<h1>{escape(heading)}</h1>{''.join(_render_scene(scene, reader) for scene in scenes)}"


def _render_scene(scene: DemoScene, reader: Reader) -> str:
    picture = "" if scene.picture is None else f'<img alt="the picture" src="{to_data_uri(scene.picture, "png")}">'
    words = f"<h2>{escape(scene.title)} <small>{_render_mark(scene.right)}</small></h2><p>{escape(scene.did)}.</p>"
    if isinstance(scene.seen, Terminal):
        return f'<article class="scene wide"><div class="query">{words}</div><pre>{escape(scene.seen.text)}</pre></article>'
    seen = render_message(scene.seen, reader)
    return f'<article class="scene"><div class="query">{words}{picture}</div><div>{seen}</div></article>'


def _render_mark(right: bool) -> str:
    return '<span class="right">right</span>' if right else '<span class="wrong">wrong</span>'
