"""The audit itself and its report.

It reads everything once, in the order in which an image passes through it, and then compares.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contracts.ports import Catalogue, StateStore
from infra.blobs.files import FileBlobStore
from infra.discord.rest.client import RestClient
from infra.nats.reader import LogPosts
from pipeline.audit import checks
from pipeline.audit.blobs import BlobFindings, compare_blobs
from pipeline.audit.chain import (
    Chain,
    FinalState,
    RequestedRemovals,
    Scope,
    find_not_erased,
    list_dead_letters,
    read_chain,
    read_final_state,
    read_posted_images,
    read_removals,
)
from pipeline.audit.checks import (
    AuditedIndex,
    CatalogueSets,
    ask_processes_for_gaps,
    find_index_gaps,
    read_catalogue,
    read_saved_index,
)
from pipeline.audit.discord import DiscordFindings, compare_discord
from pipeline.audit.gaps import Gap, MissingImages, choose_commands, format_full_replay, format_image_replay, split_missing
from pipeline.clock import utc_now


@dataclass(frozen=True, slots=True)
class AuditStep:
    """One step of the chain: how many images reached it, how many are on the way to it, and how many are in a gap.

    The field names are keys of `--json`.
    """

    name: str
    there: int
    on_the_way: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The steps in order, the gaps, and `notes`: sentences about what could not be audited."""

    generation: str
    steps: list[AuditStep] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there is no gap."""
        return not self.gaps

    def add(self, name: str, there: int, gaps: Sequence[Gap] = (), on_the_way: Collection[str] = ()) -> None:
        """Add a step with its gaps."""
        self.steps.append(AuditStep(name, there, len(on_the_way), len({each for gap in gaps for each in gap.found})))
        self.gaps.extend(gaps)


@dataclass(frozen=True, slots=True)
class Sources:
    """What an audit reads.

    `rest` is None if Discord is left out. `indexes` are the existing indexes, each with its folder. If `whole`, the audit reads
    every blob and has every process compare its indexes with the log. It calls `report_progress` with what it reads next.
    """

    scope: Scope
    catalogue: Catalogue
    blobs: FileBlobStore
    grace_s: float
    state: StateStore
    channels: frozenset[str]
    rest: RestClient | None
    indexes: Mapping[AuditedIndex, Path]
    whole: bool = True
    report_progress: Callable[[str], None] = lambda _: None


async def audit(sources: Sources) -> AuditReport:
    """Audit everything. Raises MapSeekError and Unavailable if something cannot be read."""
    scope, report = sources.scope, AuditReport(sources.scope.generation.name)
    seen, removals = await _read_discord(sources)
    sources.report_progress("the log")
    chain = await read_chain(scope)
    sources.report_progress("the catalogue")
    kept = await read_catalogue(sources.catalogue, scope.generation.name, scope.guild)
    sources.report_progress("the blobs")
    blobs = (scope.client, sources.blobs, sources.catalogue)
    stored = await compare_blobs(*blobs, grace_s=sources.grace_s, guild=scope.guild, whole=sources.whole)
    sources.report_progress("the index")
    indexes = {looked: await read_saved_index(scope, folder, looked) for looked, folder in sources.indexes.items()}
    ends = await read_final_state(scope)
    comparison = _Comparison(scope, chain, ends, kept, await list_dead_letters(scope.client, scope.generation))
    if sources.rest is not None:
        report.add("on Discord", seen.images, seen.find_gaps(ends.posted, ends.removed, removals))
        report.notes.extend(seen.notes)
    comparison.add_chain(report)
    suspects = chain.removed & (chain.posted | chain.downloaded | chain.preprocessed | chain.rejected)
    suspects |= chain.removed & (chain.fingerprinted | chain.embedded)
    report.gaps.extend(comparison.find_not_erased(await find_not_erased(scope, suspects)))
    comparison.add_catalogue(report)
    # Before the indexes: an index can get what it lacks only when the blob is back.
    report.add("blobs", stored.found, find_blob_gaps(stored, ends, scope.guild))
    for looked, index in indexes.items():
        if index is not None:
            there = (index.images | index.later) & (looked.recorded(chain) - ends.removed)
            report.add(f"in {looked.name}", len(there), find_index_gaps(chain, ends, index, looked))
    if sources.indexes and sources.whole:
        gaps, notes = await ask_processes_for_gaps(scope.client)
        report.gaps.extend(gaps)
        report.notes.extend(notes)
    return report


async def _read_discord(sources: Sources) -> tuple[DiscordFindings, RequestedRemovals]:
    """Read Discord, and the requests to remove images that Discord does not show any more."""
    seen, scope = DiscordFindings(), sources.scope
    if sources.rest is None:
        return seen, RequestedRemovals()
    sources.report_progress("Discord")
    posted = await read_posted_images(scope.client, scope.guild)
    found = compare_discord(
        sources.rest, sources.state, sources.channels, LogPosts(scope.client), posted, utc_now, guild=scope.guild
    )
    async for difference in found:
        seen.add(difference)
    return seen, await read_removals(scope.client, posted)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What was read, and the comparisons. `letters` are the ids of dead letters by stage and image."""

    scope: Scope
    chain: Chain
    ends: FinalState
    kept: CatalogueSets
    letters: dict[str, dict[str, str]]

    def add_chain(self, report: AuditReport) -> None:
        """Add the steps of the log to the report."""
        chain, ends = self.chain, self.ends
        report.add("posted", len(chain.posted - ends.removed))
        report.add("downloaded", len(chain.downloaded - ends.removed), *self._find_gaps(checks.find_missing_downloads(chain, ends)))
        report.add("rejected", len(ends.rejected - ends.removed))
        report.add(
            "preprocessed", len(chain.preprocessed - ends.removed), *self._find_gaps(checks.find_missing_pictures(chain, ends))
        )
        generation = self.scope.generation.name
        fingerprints = checks.find_missing_fingerprints(chain, ends, generation)
        report.add(f"fingerprinted in {generation}", len(chain.fingerprinted - ends.removed), *self._find_gaps(fingerprints))
        missing = checks.find_missing_vectors(chain, ends, generation)
        report.add(f"embedded in {generation}", len(chain.embedded - ends.removed), *self._find_gaps(missing))
        report.add(
            "indexed", len((chain.indexed & chain.posted) - ends.removed), *self._find_gaps(checks.find_not_indexed(chain, ends))
        )

    def add_catalogue(self, report: AuditReport) -> None:
        """Add the catalogue's documents, vectors and tombstones to the report."""
        chain, ends, kept = self.chain, self.ends, self.kept
        of_documents = [checks.find_missing_documents(chain, ends, kept), checks.find_missing_parts(chain, ends, kept)]
        of_removed = [checks.find_removed_in_catalogue(chain, kept), checks.find_missing_tombstones(chain, kept)]
        gaps, on_the_way = self._find_gaps(*of_documents, *of_removed)
        if unknown := checks.find_never_posted(ends, kept):
            what = "in the catalogue, but never posted"
            gaps.append(Gap("never-posted", what, tuple(sorted(unknown)), ("mapseek rebuild catalogue",)))
        report.add("in the catalogue", len(kept.posts & (chain.posted - ends.removed)), gaps, on_the_way)
        vectors = self._find_gaps(checks.find_missing_catalogue_vectors(chain, ends, kept))
        report.add("with their vector", len(kept.vectors & (chain.posted - ends.removed)), *vectors)

    def find_not_erased(self, left: Collection[str]) -> list[Gap]:
        """Return gaps for removed images of which the log keeps more than the tombstone."""
        gaps, _ = self._find_gaps(MissingImages("not-erased", "removed, but still in the log", "erase", left))
        return gaps

    def _find_gaps(self, *missing: MissingImages) -> tuple[list[Gap], set[str]]:
        gaps: list[Gap] = []
        on_the_way: set[str] = set()
        for each in missing:
            waiting = self.chain.waiting[each.stage] | (self.chain.waiting["persist"] if each.stage == "erase" else set())
            moving, still = split_missing(each, waiting, self.letters.get(each.stage, {}), self.scope.guild)
            on_the_way |= moving
            gaps += still
        return gaps, on_the_way


def find_blob_gaps(stored: BlobFindings, ends: FinalState, guild: str | None) -> list[Gap]:
    """Return gaps for blobs that are missing or damaged, and for blobs that nothing needs.

    Rejected and removed images need no blobs.
    """
    gaps = []
    for stage, images, what in (
        ("download", stored.originals, "whose posted file is lost or damaged"),
        ("preprocess", stored.pictures, "whose picture or thumbnail is lost or damaged"),
        ("fingerprint", stored.fingerprints, "whose fingerprint is lost or damaged"),
    ):
        if found := tuple(sorted(images - ends.rejected - ends.removed)):
            local_commands = stored.archive_commands if stage == "download" else {}
            local = tuple(local_commands[image] for image in found if image in local_commands)
            others = [image for image in found if image not in local_commands]
            commands = (*local, *choose_commands(others, format_image_replay(stage), format_full_replay(stage, guild)))
            gaps.append(Gap(f"blob-lost-{stage}", what, found, commands))
    if stored.orphans:
        gaps.append(Gap("blob-orphan", "that no image needs", stored.orphans, ("mapseek sweep",), of="blob"))
    return gaps
