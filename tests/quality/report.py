"""Render the report: a Markdown document with every figure and its target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.quality import targets
from tests.quality.categories import BY_NAME
from tests.quality.making import Plan, Query
from tests.quality.scoring import Figures, Outcome, compute_figures
from tests.quality.sheets import is_miss

ABOUT = """The code of `mapseek archive` and `mapseek find` archives the pieces and runs the searches, in one process with
the embedded server, one search after the other. No-matches are pictures that were never archived, from the same
generators as the archive. *Recall at 99 % precision* counts right first answers above a score. From that score
on, 99 % of all first answers of the category are right, its no-matches included. *Called match*: right, with the
verdict “match”. *Wrong*: another piece was called a match. *False*: a no-match was called a match. Targets are in
brackets."""
ABOUT_SIMPLE = """On the same files. The simple descriptor has 512 numbers: 128 are the MD5 of the file, the rest a thumbnail,
colour histograms and edge directions."""


@dataclass(frozen=True, slots=True)
class Results:
    """The content of a report. `ways` are the outcomes of each way to search, with MapSeek's first."""

    plan: Plan
    command: str
    machine: str
    encoder: str
    queries: Sequence[Query]
    ways: Mapping[str, Sequence[Outcome]]
    stages: Mapping[str, tuple[float, float]]
    bytes_an_image: Mapping[str, float]
    seconds: Mapping[str, float]
    sheets: Mapping[str, str]
    places: Mapping[str, tuple[int, int, int]]

    def figures_of(self, way: str, category: str) -> Figures:
        """Return the figures of one way in a category."""
        pairs = zip(self.queries, self.ways[way], strict=True)
        return compute_figures([outcome for query, outcome in pairs if query.category == category])


def render_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a Markdown table. All columns except the first are aligned to the right."""
    lines = [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def format_per_cent(share: float) -> str:
    """Format a share as per cent, or - if there is none."""
    return "-" if share != share else f"{100 * share:.1f}"


def _format_with_target(category: str, at: int, share: float) -> str:
    met = targets.is_met(category, at, share)
    if met is None:
        return format_per_cent(share)
    return f"{format_per_cent(share)} (≥ {targets.RECALL[category][at]:g}, {'met' if met else '**missed**'})"


def render_quality(results: Results, way: str) -> str:
    """Render the figures of every category with their targets."""
    rows = []
    for category in results.plan.categories:
        figures = results.figures_of(way, category)
        recalls = [
            _format_with_target(category, at, share)
            for at, share in enumerate((figures.recall_1, figures.recall_3, figures.recall_99))
        ]
        counts = f"{figures.positives} + {figures.unmatched}"
        rows.append(
            [f"{category}: {BY_NAME[category].about}", counts, *recalls, f"{figures.average_precision:.3f}",
             format_per_cent(figures.called_match), str(figures.wrong_matches), str(figures.false_matches)]
        )  # fmt: skip
    whole = compute_figures(results.ways[way])
    rows.append(
        ["all", f"{whole.positives} + {whole.unmatched}", *map(format_per_cent, (whole.recall_1, whole.recall_3, whole.recall_99)),
         f"{whole.average_precision:.3f}", format_per_cent(whole.called_match), str(whole.wrong_matches), str(whole.false_matches)]
    )  # fmt: skip
    heads = [
        "",
        "asked + no-matches",
        "recall@1",
        "recall@3",
        "recall at 99 % precision",
        "micro-AP",
        "called match",
        "wrong",
        "false",
    ]
    return render_table(heads, rows)


def render_comparison(results: Results) -> str:
    """Render recall@1 and, in brackets, recall at 99 % precision of every way to search."""
    rows = []
    for category in results.plan.categories:
        figures = [results.figures_of(way, category) for way in results.ways]
        rows.append([category, *(f"{format_per_cent(each.recall_1)} ({format_per_cent(each.recall_99)})" for each in figures)])
    whole = [compute_figures(outcomes) for outcomes in results.ways.values()]
    rows.append(["all", *(f"{format_per_cent(each.recall_1)} ({format_per_cent(each.recall_99)})" for each in whole)])
    return render_table(["recall@1 (at 99 % precision)", *results.ways], rows)


def render_groups(results: Results, way: str) -> str:
    """Render recall of drawn, plain and photographed pieces, and by severity."""
    pairs = list(zip(results.queries, results.ways[way], strict=True))
    groups = {f"{family} pieces": [o for q, o in pairs if q.family == family] for family in ("drawn", "plain", "photo")}
    groups |= {f"severity {level}": [o for q, o in pairs if q.severity == level] for level in (1, 2, 3)}
    rows = []
    for name, outcomes in groups.items():
        figures = compute_figures(outcomes)
        if figures.positives:
            rows.append(
                [name, str(figures.positives), *map(format_per_cent, (figures.recall_1, figures.recall_3, figures.recall_99))]
            )
    return render_table(["", "asked", "recall@1", "recall@3", "at 99 % precision"], rows)


def render_targets(results: Results, way: str) -> str:
    """Render the targets for all queries together."""
    whole = compute_figures(results.ways[way])
    median, p95 = results.stages.get("through match", (float("nan"),) * 2)
    share = 100 * whole.false_matches / max(1, whole.unmatched)
    checks = [
        ("no-matches called a match", f"{whole.false_matches} of {whole.unmatched} ({share:.2f} %)",
         f"≤ {targets.FALSE_MATCHES} %", share <= targets.FALSE_MATCHES),
        ("question to match, p50", f"{median:.0f} ms", f"≤ {targets.MEDIAN_MS:.0f} ms", median <= targets.MEDIAN_MS),
        ("question to match, p95", f"{p95:.0f} ms", f"≤ {targets.P95_MS:.0f} ms", p95 <= targets.P95_MS),
    ]  # fmt: skip
    return render_table(["", "measured", "target", ""], [[*row[:3], "met" if row[3] else "**missed**"] for row in checks])


def list_shortfalls(results: Results, way: str) -> list[str]:
    """Return one line for each target that is missed."""
    names = ("recall@1", "recall@3", "recall at 99 % precision")
    short = []
    for category in results.plan.categories:
        figures = results.figures_of(way, category)
        for at, share in enumerate((figures.recall_1, figures.recall_3, figures.recall_99)):
            if targets.is_met(category, at, share) is False:
                short.append(f"{category}: {names[at]} {format_per_cent(share)} of {targets.RECALL[category][at]:g}")
    return short


def render_report(results: Results) -> str:
    """Render the whole report."""
    way = next(iter(results.ways))
    plan = results.plan
    hidden = sum(
        query.family == "photo" and is_miss(query, outcome)
        for query, outcome in zip(results.queries, results.ways[way], strict=True)
    )
    source = f"{len(plan.photos)} photographs besides procedural art" if plan.photos else "procedural art alone"
    parts = [
        "# How well pictures are found",
        f"Made by `{results.command}` on {results.machine}: {plan.pieces:,} archived pieces, {len(results.queries):,} questions, "
        f"seed {plan.seed}, {source}; encoder `{results.encoder}`. Everything is synthetic: real photographs will be harder.",
        ABOUT,
        render_quality(results, way),
        render_targets(results, way),
        "## What falls short",
        "\n".join(f"- {line}" for line in list_shortfalls(results, way)) or "Nothing.",
        "## Beside others",
        ABOUT_SIMPLE,
        render_comparison(results),
        "## By art and severity",
        render_groups(results, way),
        "## Cost",
        "Milliseconds between the recorded facts of each question"
        + f" ({results.seconds.get('cores', 0):.0f} core for this process).",
        render_table(
            ["stage", "p50 ms", "p95 ms"], [[name, f"{p50:.0f}", f"{p95:.0f}"] for name, (p50, p95) in results.stages.items()]
        ),
        render_table(["on disk", "bytes an image"], [[name, f"{size:,.0f}"] for name, size in results.bytes_an_image.items()]),
        f"Archiving took {results.seconds['archive']:.0f} s (little where the gallery was there already), "
        f"asking {results.seconds['ask']:.0f} s.",
    ]
    if results.places:
        rows = [
            [name, str(whole), format_per_cent(first / whole), format_per_cent(six / whole)]
            for name, (first, six, whole) in results.places.items()
        ]
        parts += ["## Finding outlines", "Outlines with an IoU of at least 0.8 with the true one, first and among six.",
                  render_table(["", "scenes", "first", "among 6"], rows)]  # fmt: skip
    parts += ["## What it looks like", *(f"### {title}\n\n![{title}]({file})" for title, file in results.sheets.items())]
    if hidden:
        parts.append(f"{hidden} more misses are of photographs that may be measured with but not shown.")
    return "\n\n".join(parts) + "\n"
