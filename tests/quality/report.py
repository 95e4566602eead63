"""The report: a Markdown document with every figure beside its target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.quality import targets
from tests.quality.categories import BY_NAME
from tests.quality.making import Plan, Query
from tests.quality.scoring import Figures, Outcome, figures
from tests.quality.sheets import missed

ABOUT = """The code of `mapseek archive` and `mapseek find` archives the pieces and runs the searches, in one process with
the embedded server, one search after the other. No-matches are pictures that were never archived, from the same
generators as the archive. *Recall at 99 % precision* counts right first answers above a score. From that score
on, 99 % of all first answers of the category are right, its no-matches included. *Called match*: right, with the
verdict “match”. *Wrong*: another piece was called a match. *False*: a no-match was called a match. Targets are in
brackets."""
SEED_BOT = """On the same files. The simple descriptor has 512 numbers: 128 are the MD5 of the file, the rest a thumbnail,
colour histograms and edge directions."""


@dataclass(frozen=True, slots=True)
class Results:
    """All that a report tells. `ways` are the outcomes of each way to search, this project's first."""

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

    def of(self, way: str, category: str) -> Figures:
        """One way's figures in a category."""
        pairs = zip(self.queries, self.ways[way], strict=True)
        return figures([outcome for query, outcome in pairs if query.category == category])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def per_cent(share: float) -> str:
    """A share as it is read."""
    return "-" if share != share else f"{100 * share:.1f}"


def _beside(category: str, at: int, share: float) -> str:
    met = targets.met(category, at, share)
    if met is None:
        return per_cent(share)
    return f"{per_cent(share)} (≥ {targets.RECALL[category][at]:g}, {'met' if met else '**missed**'})"


def quality(results: Results, way: str) -> str:
    """Every category's figures, the targets beside them."""
    rows = []
    for category in results.plan.categories:
        told = results.of(way, category)
        recalls = [_beside(category, at, share) for at, share in enumerate((told.recall_1, told.recall_3, told.recall_99))]
        counts = f"{told.positives} + {told.unmatched}"
        rows.append(
            [f"{category}: {BY_NAME[category].about}", counts, *recalls, f"{told.average_precision:.3f}",
             per_cent(told.called_match), str(told.wrong_matches), str(told.false_matches)]
        )  # fmt: skip
    whole = figures(results.ways[way])
    rows.append(
        ["all", f"{whole.positives} + {whole.unmatched}", *map(per_cent, (whole.recall_1, whole.recall_3, whole.recall_99)),
         f"{whole.average_precision:.3f}", per_cent(whole.called_match), str(whole.wrong_matches), str(whole.false_matches)]
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
    return table(heads, rows)


def others(results: Results) -> str:
    """Recall@1 and, in brackets, at 99 % precision of every way to search."""
    rows = []
    for category in results.plan.categories:
        told = [results.of(way, category) for way in results.ways]
        rows.append([category, *(f"{per_cent(each.recall_1)} ({per_cent(each.recall_99)})" for each in told)])
    whole = [figures(outcomes) for outcomes in results.ways.values()]
    rows.append(["all", *(f"{per_cent(each.recall_1)} ({per_cent(each.recall_99)})" for each in whole)])
    return table(["recall@1 (at 99 % precision)", *results.ways], rows)


def by_family(results: Results, way: str) -> str:
    """Recall@1 of drawn, plain and photographed pieces, and by severity."""
    pairs = list(zip(results.queries, results.ways[way], strict=True))
    groups = {f"{family} pieces": [o for q, o in pairs if q.family == family] for family in ("drawn", "plain", "photo")}
    groups |= {f"severity {level}": [o for q, o in pairs if q.severity == level] for level in (1, 2, 3)}
    rows = []
    for name, outcomes in groups.items():
        told = figures(outcomes)
        if told.positives:
            rows.append([name, str(told.positives), *map(per_cent, (told.recall_1, told.recall_3, told.recall_99))])
    return table(["", "asked", "recall@1", "recall@3", "at 99 % precision"], rows)


def judged(results: Results, way: str) -> str:
    """The targets that are about all questions."""
    whole = figures(results.ways[way])
    median, p95 = results.stages.get("through match", (float("nan"),) * 2)
    share = 100 * whole.false_matches / max(1, whole.unmatched)
    checks = [
        ("no-matches called a match", f"{whole.false_matches} of {whole.unmatched} ({share:.2f} %)",
         f"≤ {targets.FALSE_MATCHES} %", share <= targets.FALSE_MATCHES),
        ("question to match, p50", f"{median:.0f} ms", f"≤ {targets.MEDIAN_MS:.0f} ms", median <= targets.MEDIAN_MS),
        ("question to match, p95", f"{p95:.0f} ms", f"≤ {targets.P95_MS:.0f} ms", p95 <= targets.P95_MS),
    ]  # fmt: skip
    return table(["", "measured", "target", ""], [[*row[:3], "met" if row[3] else "**missed**"] for row in checks])


def shortfalls(results: Results, way: str) -> list[str]:
    """What is missed, in words."""
    names = ("recall@1", "recall@3", "recall at 99 % precision")
    short = []
    for category in results.plan.categories:
        told = results.of(way, category)
        for at, share in enumerate((told.recall_1, told.recall_3, told.recall_99)):
            if targets.met(category, at, share) is False:
                short.append(f"{category}: {names[at]} {per_cent(share)} of {targets.RECALL[category][at]:g}")
    return short


def document(results: Results) -> str:
    """The whole report."""
    way = next(iter(results.ways))
    plan = results.plan
    hidden = sum(
        query.family == "photo" and missed(query, told) for query, told in zip(results.queries, results.ways[way], strict=True)
    )
    source = f"{len(plan.photos)} photographs besides procedural art" if plan.photos else "procedural art alone"
    parts = [
        "# How well pictures are found",
        f"Made by `{results.command}` on {results.machine}: {plan.pieces:,} archived pieces, {len(results.queries):,} questions, "
        f"seed {plan.seed}, {source}; encoder `{results.encoder}`. Everything is synthetic: real photographs will be harder.",
        ABOUT,
        quality(results, way),
        judged(results, way),
        "## What falls short",
        "\n".join(f"- {line}" for line in shortfalls(results, way)) or "Nothing.",
        "## Beside others",
        SEED_BOT,
        others(results),
        "## By art and severity",
        by_family(results, way),
        "## Cost",
        "Milliseconds between the recorded facts of each question"
        + f" ({results.seconds.get('cores', 0):.0f} core for this process).",
        table(["stage", "p50 ms", "p95 ms"], [[name, f"{p50:.0f}", f"{p95:.0f}"] for name, (p50, p95) in results.stages.items()]),
        table(["on disk", "bytes an image"], [[name, f"{size:,.0f}"] for name, size in results.bytes_an_image.items()]),
        f"Archiving took {results.seconds['archive']:.0f} s (little where the gallery was there already), "
        f"asking {results.seconds['ask']:.0f} s.",
    ]
    if results.places:
        rows = [
            [name, str(whole), per_cent(first / whole), per_cent(six / whole)]
            for name, (first, six, whole) in results.places.items()
        ]
        parts += ["## Finding outlines", "Outlines with an IoU of at least 0.8 with the true one, first and among six.",
                  table(["", "scenes", "first", "among 6"], rows)]  # fmt: skip
    parts += ["## What it looks like", *(f"### {title}\n\n![{title}]({file})" for title, file in results.sheets.items())]
    if hidden:
        parts.append(f"{hidden} more misses are of photographs that may be measured with but not shown.")
    return "\n\n".join(parts) + "\n"
