"""The comparisons of an audit: what is missing, what is on the way, and which commands close the gaps."""

from collections.abc import Collection

import pytest

from infra.discord.rest.compare import ChannelDifference
from pipeline.audit import checks
from pipeline.audit.audit import find_blob_gaps
from pipeline.audit.blobs import BlobFindings
from pipeline.audit.chain import Chain, FinalState, RequestedRemovals
from pipeline.audit.checks import CatalogueSets, SavedIndex, find_index_gaps
from pipeline.audit.discord import DiscordFindings
from pipeline.audit.gaps import MissingImages, choose_commands, split_missing

ALL = frozenset({"1", "2", "3"})
NOTHING: frozenset[str] = frozenset()


def chain(**sets: Collection[str]) -> Chain:
    """Return a chain of three images that have all facts, except for the given sets."""
    whole = dict.fromkeys(("posted", "downloaded", "preprocessed", "fingerprinted", "embedded", "indexed"), ALL)
    return Chain(**{**whole, "rejected": NOTHING, "removed": NOTHING, "turned": NOTHING, "waiting": {}, **sets})  # type: ignore[arg-type]


def final_state(**sets: Collection[str]) -> FinalState:
    return FinalState(**{"posted": ALL, "rejected": NOTHING, "removed": NOTHING, **sets})  # type: ignore[arg-type]


def catalogue_sets(**sets: Collection[str]) -> CatalogueSets:
    whole = dict.fromkeys(("documents", "posts", "originals", "pictures", "fingerprints", "vectors"), ALL)
    return CatalogueSets(**{**whole, "rejections": NOTHING, "visibilities": NOTHING, "tombstones": NOTHING, **sets})  # type: ignore[arg-type]


def test_nothing_is_missing_of_complete_images() -> None:
    assert checks.find_missing_downloads(chain(), final_state()).images == NOTHING
    assert checks.find_missing_pictures(chain(), final_state()).images == NOTHING
    assert checks.find_missing_fingerprints(chain(), final_state(), "g1").images == NOTHING
    assert checks.find_missing_vectors(chain(), final_state(), "g1").images == NOTHING
    assert checks.find_not_indexed(chain(), final_state()).images == NOTHING
    assert checks.find_missing_documents(chain(), final_state(), catalogue_sets()).images == NOTHING
    assert checks.find_missing_parts(chain(), final_state(), catalogue_sets()).images == NOTHING
    assert checks.find_missing_catalogue_vectors(chain(), final_state(), catalogue_sets()).images == NOTHING
    assert checks.find_removed_in_catalogue(chain(), catalogue_sets()).images == NOTHING
    assert checks.find_missing_tombstones(chain(), catalogue_sets()).images == NOTHING
    assert checks.find_never_posted(final_state(), catalogue_sets()) == NOTHING


@pytest.mark.parametrize("end", ["rejected", "removed"])
def test_a_fact_that_should_follow_is_missing_unless_the_image_is_rejected_or_removed(end: str) -> None:
    behind = chain(downloaded={"1", "2"}, preprocessed={"1"}, embedded=NOTHING, indexed=NOTHING)
    assert checks.find_missing_downloads(behind, final_state()).images == {"3"}
    assert checks.find_missing_pictures(behind, final_state()).images == {"2"}
    assert checks.find_missing_vectors(behind, final_state(), "g1").images == {"1"}
    unprinted = checks.find_missing_fingerprints(chain(fingerprinted={"1"}), final_state(), "g1")
    assert (unprinted.images, unprinted.stage) == ({"2", "3"}, "fingerprint")
    finished = final_state(**{end: ALL})
    for missing in (checks.find_missing_downloads, checks.find_missing_pictures):
        assert missing(behind, finished).images == NOTHING
    assert checks.find_missing_vectors(behind, finished, "g1").images == NOTHING
    assert checks.find_missing_fingerprints(chain(fingerprinted=NOTHING, indexed=NOTHING), finished, "g1").images == NOTHING
    assert checks.find_not_indexed(chain(indexed={"1"}), final_state()).images == {"2", "3"}


def test_a_rejection_of_an_image_that_is_indexed_later_does_not_excuse_a_lost_vector() -> None:
    """A later release may be able to read the file, or the preprocessing of one generation where that of another cannot."""
    lost = chain(embedded={"3"}, indexed={"1"})
    assert checks.find_missing_vectors(lost, final_state(rejected=ALL), "g1").images == {"1"}


def test_the_catalogue_should_have_everything_that_the_log_has() -> None:
    assert checks.find_missing_documents(chain(), final_state(removed={"2"}), catalogue_sets(posts={"1"})).images == {"3"}
    lacking = catalogue_sets(posts={"1", "2"}, originals={"1"}, pictures={"2"})
    assert checks.find_missing_parts(chain(), final_state(), lacking).images == {"1", "2"}
    assert checks.find_missing_parts(chain(), final_state(), catalogue_sets(fingerprints={"1", "2"})).images == {"3"}
    rejected = chain(rejected={"3"}, preprocessed={"1", "2"})
    assert checks.find_missing_parts(rejected, final_state(), catalogue_sets()).images == {"3"}
    assert checks.find_missing_parts(chain(turned={"1", "2"}), final_state(), catalogue_sets(visibilities={"1"})).images == {"2"}
    assert checks.find_missing_catalogue_vectors(
        chain(), final_state(), catalogue_sets(posts={"1", "2"}, vectors={"1"})
    ).images == {"2"}


def test_a_removed_image_should_have_only_a_tombstone() -> None:
    removed = chain(removed={"2", "4"})
    assert checks.find_removed_in_catalogue(removed, catalogue_sets()).images == {"2"}
    assert checks.find_missing_tombstones(removed, catalogue_sets()).images == {"4"}
    assert (
        checks.find_missing_tombstones(removed, catalogue_sets(documents={"1", "3"}, vectors={"1"}, tombstones={"2", "4"})).images
        == NOTHING
    )
    assert checks.find_never_posted(final_state(posted={"1"}, removed={"2"}), catalogue_sets()) == {"3"}


def test_a_waiting_image_is_no_gap_and_a_dead_letter_is_a_gap_of_its_own() -> None:
    missing = MissingImages("not-embedded", "preprocessed, but not embedded in g1", "embed", ALL)
    moving, (buried, still) = split_missing(missing, {"1"}, {"1": "embed/image/11/g1", "2": "embed/image/12/g1"})
    assert moving == {"1"}
    assert (buried.found, buried.commands) == (("2",), ("mapseek failures retry embed/image/12/g1",))
    assert (still.found, still.commands) == (("3",), ("mapseek replay --stage embed --image 3",))
    assert split_missing(missing, ALL, {}) == (ALL, [])


def test_few_images_get_a_command_each_and_many_get_one_command() -> None:
    few, many = [str(number) for number in range(20)], [str(number) for number in range(21)]
    assert len(choose_commands(few, str, "all")) == 20
    assert choose_commands(many, str, "all") == ("all",)
    _, (gap,) = split_missing(MissingImages("no-document", "", "persist", many), (), {})
    assert gap.commands == ("mapseek rebuild catalogue",)
    _, (gap,) = split_missing(MissingImages("not-downloaded", "", "download", many), (), {}, "7")
    assert gap.commands == ("mapseek replay --stage download --guild 7",)
    _, (gap,) = split_missing(MissingImages("not-downloaded", "", "download", many), (), dict.fromkeys(many, "download/image/5"))
    assert gap.commands == ("mapseek failures retry --stage download",)


def test_a_lost_blob_is_downloaded_or_made_again() -> None:
    again = {"3": "mapseek archive /maps/a.png --guild local"}
    stored = BlobFindings(9, frozenset("123"), frozenset("14"), frozenset("45"), ("ab" * 32,), again)
    posted, made, known_by, orphan = find_blob_gaps(stored, final_state(rejected={"2"}, removed={"4"}), None)
    assert posted.found == ("1", "3")
    assert posted.commands == ("mapseek archive /maps/a.png --guild local", "mapseek replay --stage download --image 1")
    assert (made.found, made.commands) == (("1",), ("mapseek replay --stage preprocess --image 1",))
    assert (known_by.found, known_by.commands) == (("5",), ("mapseek replay --stage fingerprint --image 5",))
    assert (orphan.of, orphan.commands) == ("blob", ("mapseek sweep",))


def test_differences_on_discord_that_are_settled_by_now_are_no_gaps() -> None:
    seen = DiscordFindings()
    seen.add(ChannelDifference("7", "8", "#gallery", images=5, gone=("1", "2", "3")))
    seen.add(ChannelDifference("7", "9", "#vault", unreadable=True))
    seen.add(ChannelDifference("6", "", unreadable=True))
    (gap,) = seen.find_gaps(ALL, {"1"}, RequestedRemovals(pending={"2"}))
    assert (gap.kind, gap.found, gap.commands) == ("gone", ("3",), ("mapseek sync --channel 8",))
    assert seen.images == 5
    assert seen.unreadable == ["#vault (9)", "the whole guild 6"]


def test_a_handled_removal_that_removed_nothing_is_replayed() -> None:
    seen = DiscordFindings()
    seen.add(ChannelDifference("7", "8", "#gallery", gone=("1", "2", "3")))
    not_requested, handled, buried = seen.find_gaps(
        ALL, NOTHING, RequestedRemovals(handled={"2"}, letters={"3": "remove/removal/5"})
    )
    assert (not_requested.found, not_requested.commands) == (("1",), ("mapseek sync --channel 8",))
    assert (handled.found, handled.commands) == (("2",), ("mapseek replay --stage remove --guild 7",))
    assert (buried.found, buried.commands) == (("3",), ("mapseek failures retry remove/removal/5",))


def test_an_image_removed_while_the_index_is_compared_is_no_gap() -> None:
    index = SavedIndex(images=ALL, later=NOTHING)
    assert find_index_gaps(chain(), final_state(posted={"1", "2"}, removed={"3"}), index) == []
    (gap,) = find_index_gaps(chain(removed={"3"}), final_state(posted={"1", "2"}, removed={"3"}), index)
    assert (gap.kind, gap.found) == ("index-too-much", ("3",))
    (gap,) = find_index_gaps(chain(embedded={"1", "2"}), final_state(posted={"1", "2"}), index)
    assert (gap.kind, gap.found) == ("index-too-much", ("3",))
