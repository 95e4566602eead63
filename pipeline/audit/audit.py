"""The audit itself: everything is read once, in the order in which it comes to be, and then compared.

What an audit found.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contracts.ports import Catalogue, State
from infra.blobs.files import FileBlobStore
from infra.discord.rest.client import RestLogin
from pipeline.audit import checks
from pipeline.audit.blobs import Stored, compare_blobs
from pipeline.audit.chain import (
    Chain,
    Ends,
    Removals,
    Scope,
    dead_letters,
    not_erased,
    read_chain,
    read_ends,
    read_posted,
    read_removals,
)
from pipeline.audit.checks import Kept, Looked, ask_for_gaps, index_gaps, read_index, read_kept
from pipeline.audit.discord import Seen, compare_discord
from pipeline.audit.gaps import Gap, Missing, closing, replayed, replayed_all, settled
from pipeline.clock import utc_now


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain: how many are there, how many are on the way to it, and how many are not as they should be."""

    name: str
    there: int
    on_the_way: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The steps in order, the gaps, and `notes`: sentences about what could not be looked at."""

    generation: str
    steps: list[Step] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there is no gap."""
        return not self.gaps

    def add(self, name: str, there: int, gaps: Sequence[Gap] = (), on_the_way: Collection[str] = ()) -> None:
        """One more step with its gaps."""
        self.steps.append(Step(name, there, len(on_the_way), len({each for gap in gaps for each in gap.found})))
        self.gaps.extend(gaps)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an audit looks. `rest` is None where Discord is left out; `indexes` are those that there are, each with its folder;
    `whole` says whether every blob and the log is read for it, and `told` hears what is being done.
    """

    scope: Scope
    catalogue: Catalogue
    blobs: FileBlobStore
    grace_s: float
    state: State
    channels: frozenset[str]
    rest: RestLogin | None
    indexes: Mapping[Looked, Path]
    whole: bool = True
    told: Callable[[str], None] = lambda _: None


async def audit(sources: Sources) -> Report:
    """Look at everything. Raises MapSeekError and Unavailable where something cannot be read."""
    scope, report = sources.scope, Report(sources.scope.generation.name)
    seen, removals = await _seen(sources)
    sources.told("the log")
    chain = await read_chain(scope)
    sources.told("the catalogue")
    kept = await read_kept(sources.catalogue, scope.generation.name, scope.guild)
    sources.told("the blobs")
    blobs = (scope.client, sources.blobs, sources.catalogue)
    stored = await compare_blobs(*blobs, grace_s=sources.grace_s, guild=scope.guild, whole=sources.whole)
    sources.told("the index")
    indexes = {looked: await read_index(scope, folder, looked) for looked, folder in sources.indexes.items()}
    ends = await read_ends(scope)
    comparing = _Comparing(scope, chain, ends, kept, await dead_letters(scope.client, scope.generation))
    if sources.rest is not None:
        report.add("on Discord", seen.images, seen.gaps(ends.posted, ends.removed, removals))
        report.notes.extend(seen.notes)
    comparing.add_chain(report)
    suspects = chain.removed & (chain.posted | chain.downloaded | chain.preprocessed | chain.rejected)
    suspects |= chain.removed & (chain.fingerprinted | chain.embedded)
    report.gaps.extend(comparing.standing_still(await not_erased(scope, suspects)))
    comparing.add_catalogue(report)
    # Before the indexes: an index has what it lacks only once the blob is back.
    report.add("blobs", stored.found, lost_blobs(stored, ends, scope.guild))
    for looked, index in indexes.items():
        if index is not None:
            there = (index.images | index.later) & (looked.recorded(chain) - ends.removed)
            report.add(f"in {looked.name}", len(there), index_gaps(chain, ends, index, looked))
    if sources.indexes and sources.whole:
        gaps, notes = await ask_for_gaps(scope.client)
        report.gaps.extend(gaps)
        report.notes.extend(notes)
    return report


async def _seen(sources: Sources) -> tuple[Seen, Removals]:
    """What Discord shows, and what was asked for the removal of that which it does not show any more."""
    seen, scope = Seen(), sources.scope
    if sources.rest is None:
        return seen, Removals()
    sources.told("Discord")
    posted = await read_posted(scope.client, scope.guild)
    found = compare_discord(sources.rest, sources.state, sources.channels, posted, utc_now, guild=scope.guild)
    async for difference in found:
        seen.add(difference)
    return seen, await read_removals(scope.client, posted)


@dataclass(frozen=True, slots=True)
class _Comparing:
    """What was read, to be compared. `letters` are the ids of dead letters by stage and image."""

    scope: Scope
    chain: Chain
    ends: Ends
    kept: Kept
    letters: dict[str, dict[str, str]]

    def add_chain(self, report: Report) -> None:
        """The steps of the log."""
        chain, ends = self.chain, self.ends
        report.add("posted", len(chain.posted - ends.removed))
        report.add("downloaded", len(chain.downloaded - ends.removed), *self._of(checks.missing_downloads(chain, ends)))
        report.add("rejected", len(ends.rejected - ends.removed))
        report.add("preprocessed", len(chain.preprocessed - ends.removed), *self._of(checks.missing_pictures(chain, ends)))
        generation = self.scope.generation.name
        fingerprints = checks.missing_fingerprints(chain, ends, generation)
        report.add(f"fingerprinted in {generation}", len(chain.fingerprinted - ends.removed), *self._of(fingerprints))
        missing = checks.missing_vectors(chain, ends, generation)
        report.add(f"embedded in {generation}", len(chain.embedded - ends.removed), *self._of(missing))
        report.add("indexed", len((chain.indexed & chain.posted) - ends.removed), *self._of(checks.missing_ends(chain, ends)))

    def add_catalogue(self, report: Report) -> None:
        """The catalogue's documents, vectors and tombstones."""
        chain, ends, kept = self.chain, self.ends, self.kept
        of_documents = [checks.missing_documents(chain, ends, kept), checks.missing_parts(chain, ends, kept)]
        of_removed = [checks.undead(chain, kept), checks.unburied(chain, kept)]
        gaps, on_the_way = self._of(*of_documents, *of_removed)
        if unknown := checks.unknown(ends, kept):
            what = "in the catalogue, but never posted"
            gaps.append(Gap("never-posted", what, tuple(sorted(unknown)), ("mapseek rebuild catalogue",)))
        report.add("in the catalogue", len(kept.posts & (chain.posted - ends.removed)), gaps, on_the_way)
        vectors = self._of(checks.missing_kept_vectors(chain, ends, kept))
        report.add("with their vector", len(kept.vectors & (chain.posted - ends.removed)), *vectors)

    def standing_still(self, left: Collection[str]) -> list[Gap]:
        """Removed images of which the log keeps more than the tombstone."""
        gaps, _ = self._of(Missing("not-erased", "removed, but still in the log", "erase", left))
        return gaps

    def _of(self, *missing: Missing) -> tuple[list[Gap], set[str]]:
        gaps: list[Gap] = []
        on_the_way: set[str] = set()
        for each in missing:
            waiting = self.chain.waiting[each.stage] | (self.chain.waiting["persist"] if each.stage == "erase" else set())
            moving, still = settled(each, waiting, self.letters.get(each.stage, {}), self.scope.guild)
            on_the_way |= moving
            gaps += still
        return gaps, on_the_way


def lost_blobs(stored: Stored, ends: Ends, guild: str | None) -> list[Gap]:
    """The blobs that are missing or damaged, and those that nobody needs. Of rejected and removed images none is missed."""
    gaps = []
    for stage, images, what in (
        ("download", stored.originals, "whose file as it was posted is lost or damaged"),
        ("preprocess", stored.pictures, "whose picture or thumbnail is lost or damaged"),
        ("fingerprint", stored.fingerprints, "whose fingerprint is lost or damaged"),
    ):
        if found := tuple(sorted(images - ends.rejected - ends.removed)):
            again = stored.again if stage == "download" else {}
            local = tuple(again[image] for image in found if image in again)
            others = [image for image in found if image not in again]
            commands = (*local, *closing(others, replayed(stage), replayed_all(stage, guild)))
            gaps.append(Gap(f"blob-lost-{stage}", what, found, commands))
    if stored.orphans:
        gaps.append(Gap("blob-orphan", "that no image needs", stored.orphans, ("mapseek sweep",), of="blob"))
    return gaps
