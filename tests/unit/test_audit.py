"""The comparisons of an audit: what should have followed, what is on the way, and what closes the rest."""

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
    """Three images that went all the way, but for what is said."""
    whole = dict.fromkeys(("posted", "downloaded", "preprocessed", "fingerprinted", "embedded", "indexed"), ALL)
    return Chain(**{**whole, "rejected": NOTHING, "removed": NOTHING, "waiting": {}, **sets})  # type: ignore[arg-type]


def ends(**sets: Collection[str]) -> FinalState:
    return FinalState(**{"posted": ALL, "rejected": NOTHING, "removed": NOTHING, **sets})  # type: ignore[arg-type]


def kept(**sets: Collection[str]) -> CatalogueSets:
    whole = dict.fromkeys(("documents", "posts", "originals", "pictures", "fingerprints", "vectors"), ALL)
    return CatalogueSets(**{**whole, "rejections": NOTHING, "tombstones": NOTHING, **sets})  # type: ignore[arg-type]


def test_nothing_is_missing_of_what_is_whole() -> None:
    assert checks.find_missing_downloads(chain(), ends()).images == NOTHING
    assert checks.find_missing_pictures(chain(), ends()).images == NOTHING
    assert checks.find_missing_fingerprints(chain(), ends(), "g1").images == NOTHING
    assert checks.find_missing_vectors(chain(), ends(), "g1").images == NOTHING
    assert checks.find_not_indexed(chain(), ends()).images == NOTHING
    assert checks.find_missing_documents(chain(), ends(), kept()).images == NOTHING
    assert checks.find_missing_parts(chain(), ends(), kept()).images == NOTHING
    assert checks.find_missing_catalogue_vectors(chain(), ends(), kept()).images == NOTHING
    assert checks.find_removed_in_catalogue(chain(), kept()).images == NOTHING
    assert checks.find_missing_tombstones(chain(), kept()).images == NOTHING
    assert checks.find_never_posted(ends(), kept()) == NOTHING


@pytest.mark.parametrize("end", ["rejected", "removed"])
def test_what_should_have_followed_is_missing_unless_the_image_is_at_its_end(end: str) -> None:
    behind = chain(downloaded={"1", "2"}, preprocessed={"1"}, embedded=NOTHING, indexed=NOTHING)
    assert checks.find_missing_downloads(behind, ends()).images == {"3"}
    assert checks.find_missing_pictures(behind, ends()).images == {"2"}
    assert checks.find_missing_vectors(behind, ends(), "g1").images == {"1"}
    unprinted = checks.find_missing_fingerprints(chain(fingerprinted={"1"}), ends(), "g1")
    assert (unprinted.images, unprinted.stage) == ({"2", "3"}, "fingerprint")
    ended = ends(**{end: ALL})
    for missing in (checks.find_missing_downloads, checks.find_missing_pictures):
        assert missing(behind, ended).images == NOTHING
    assert checks.find_missing_vectors(behind, ended, "g1").images == NOTHING
    assert checks.find_missing_fingerprints(chain(fingerprinted=NOTHING, indexed=NOTHING), ended, "g1").images == NOTHING
    assert checks.find_not_indexed(chain(indexed={"1"}), ends()).images == {"2", "3"}


def test_a_rejection_that_was_overcome_later_excuses_no_lost_vector() -> None:
    """A later release can read the file, or one generation's preprocessing where another's cannot."""
    lost = chain(embedded={"3"}, indexed={"1"})
    assert checks.find_missing_vectors(lost, ends(rejected=ALL), "g1").images == {"1"}


def test_the_catalogue_should_have_all_that_the_log_tells() -> None:
    assert checks.find_missing_documents(chain(), ends(removed={"2"}), kept(posts={"1"})).images == {"3"}
    lacking = kept(posts={"1", "2"}, originals={"1"}, pictures={"2"})
    assert checks.find_missing_parts(chain(), ends(), lacking).images == {"1", "2"}
    assert checks.find_missing_parts(chain(), ends(), kept(fingerprints={"1", "2"})).images == {"3"}
    rejected = chain(rejected={"3"}, preprocessed={"1", "2"})
    assert checks.find_missing_parts(rejected, ends(), kept()).images == {"3"}
    assert checks.find_missing_catalogue_vectors(chain(), ends(), kept(posts={"1", "2"}, vectors={"1"})).images == {"2"}


def test_what_is_removed_is_nowhere_but_a_tombstone_stays() -> None:
    removed = chain(removed={"2", "4"})
    assert checks.find_removed_in_catalogue(removed, kept()).images == {"2"}
    assert checks.find_missing_tombstones(removed, kept()).images == {"4"}
    assert (
        checks.find_missing_tombstones(removed, kept(documents={"1", "3"}, vectors={"1"}, tombstones={"2", "4"})).images == NOTHING
    )
    assert checks.find_never_posted(ends(posted={"1"}, removed={"2"}), kept()) == {"3"}


def test_what_waits_is_no_gap_and_a_dead_letter_explains_one() -> None:
    missing = MissingImages("not-embedded", "preprocessed, but not embedded in g1", "embed", ALL)
    moving, (buried, still) = split_missing(missing, {"1"}, {"1": "embed/image/11/g1", "2": "embed/image/12/g1"})
    assert moving == {"1"}
    assert (buried.found, buried.commands) == (("2",), ("mapseek failures retry embed/image/12/g1",))
    assert (still.found, still.commands) == (("3",), ("mapseek replay --stage embed --image 3",))
    assert split_missing(missing, ALL, {}) == (ALL, [])


def test_few_are_closed_one_by_one_and_many_all_at_once() -> None:
    few, many = [str(number) for number in range(20)], [str(number) for number in range(21)]
    assert len(choose_commands(few, str, "all")) == 20
    assert choose_commands(many, str, "all") == ("all",)
    _, (gap,) = split_missing(MissingImages("no-document", "", "persist", many), (), {})
    assert gap.commands == ("mapseek rebuild catalogue",)
    _, (gap,) = split_missing(MissingImages("not-downloaded", "", "download", many), (), {}, "7")
    assert gap.commands == ("mapseek replay --stage download --guild 7",)
    _, (gap,) = split_missing(MissingImages("not-downloaded", "", "download", many), (), dict.fromkeys(many, "download/image/5"))
    assert gap.commands == ("mapseek failures retry --stage download",)


def test_a_lost_blob_is_fetched_or_made_again() -> None:
    again = {"3": "mapseek archive /maps/a.png --guild local"}
    stored = BlobFindings(9, frozenset("123"), frozenset("14"), frozenset("45"), ("ab" * 32,), again)
    posted, made, known_by, orphan = find_blob_gaps(stored, ends(rejected={"2"}, removed={"4"}), None)
    assert posted.found == ("1", "3")
    assert posted.commands == ("mapseek archive /maps/a.png --guild local", "mapseek replay --stage download --image 1")
    assert (made.found, made.commands) == (("1",), ("mapseek replay --stage preprocess --image 1",))
    assert (known_by.found, known_by.commands) == (("5",), ("mapseek replay --stage fingerprint --image 5",))
    assert (orphan.of, orphan.commands) == ("blob", ("mapseek sweep",))


def test_on_discord_only_that_counts_which_nothing_has_settled_meanwhile() -> None:
    seen = DiscordFindings()
    seen.add(ChannelDifference("7", "8", "#gallery", images=5, gone=("1", "2", "3")))
    seen.add(ChannelDifference("7", "9", "#vault", unreadable=True))
    seen.add(ChannelDifference("6", "", unreadable=True))
    (gap,) = seen.find_gaps(ALL, {"1"}, RequestedRemovals(pending={"2"}))
    assert (gap.kind, gap.found, gap.commands) == ("gone", ("3",), ("mapseek sync --channel 8",))
    assert seen.images == 5
    assert seen.unreadable == ["#vault (9)", "the whole guild 6"]


def test_a_removal_that_led_to_nothing_is_worked_on_again_rather_than_requested_again() -> None:
    seen = DiscordFindings()
    seen.add(ChannelDifference("7", "8", "#gallery", gone=("1", "2", "3")))
    unasked, asked, buried = seen.find_gaps(ALL, NOTHING, RequestedRemovals(handled={"2"}, letters={"3": "remove/removal/5"}))
    assert (unasked.found, unasked.commands) == (("1",), ("mapseek sync --channel 8",))
    assert (asked.found, asked.commands) == (("2",), ("mapseek replay --stage remove --guild 7",))
    assert (buried.found, buried.commands) == (("3",), ("mapseek failures retry remove/removal/5",))


def test_what_is_removed_while_the_index_is_compared_is_no_gap() -> None:
    index = SavedIndex(images=ALL, later=NOTHING)
    assert find_index_gaps(chain(), ends(posted={"1", "2"}, removed={"3"}), index) == []
    (gap,) = find_index_gaps(chain(removed={"3"}), ends(posted={"1", "2"}, removed={"3"}), index)
    assert (gap.kind, gap.found) == ("index-too-much", ("3",))
    (gap,) = find_index_gaps(chain(embedded={"1", "2"}), ends(posted={"1", "2"}), index)
    assert (gap.kind, gap.found) == ("index-too-much", ("3",))
