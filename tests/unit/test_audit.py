"""The comparisons of an audit: what should have followed, what is on the way, and what closes the rest."""

from collections.abc import Collection

import pytest

from infra.discord.rest.compare import Difference
from pipeline.audit import checks
from pipeline.audit.audit import lost_blobs
from pipeline.audit.blobs import Stored
from pipeline.audit.chain import Chain, Ends, Removals
from pipeline.audit.checks import Index, Kept, index_gaps
from pipeline.audit.discord import Seen
from pipeline.audit.gaps import Missing, closing, settled

ALL = frozenset({"1", "2", "3"})
NOTHING: frozenset[str] = frozenset()


def chain(**sets: Collection[str]) -> Chain:
    """Three images that went all the way, but for what is said."""
    whole = dict.fromkeys(("posted", "downloaded", "preprocessed", "fingerprinted", "embedded", "indexed"), ALL)
    return Chain(**{**whole, "rejected": NOTHING, "removed": NOTHING, "waiting": {}, **sets})  # type: ignore[arg-type]


def ends(**sets: Collection[str]) -> Ends:
    return Ends(**{"posted": ALL, "rejected": NOTHING, "removed": NOTHING, **sets})  # type: ignore[arg-type]


def kept(**sets: Collection[str]) -> Kept:
    whole = dict.fromkeys(("documents", "posts", "originals", "pictures", "fingerprints", "vectors"), ALL)
    return Kept(**{**whole, "rejections": NOTHING, "tombstones": NOTHING, **sets})  # type: ignore[arg-type]


def test_nothing_is_missing_of_what_is_whole() -> None:
    assert checks.missing_downloads(chain(), ends()).images == NOTHING
    assert checks.missing_pictures(chain(), ends()).images == NOTHING
    assert checks.missing_fingerprints(chain(), ends(), "g1").images == NOTHING
    assert checks.missing_vectors(chain(), ends(), "g1").images == NOTHING
    assert checks.missing_ends(chain(), ends()).images == NOTHING
    assert checks.missing_documents(chain(), ends(), kept()).images == NOTHING
    assert checks.missing_parts(chain(), ends(), kept()).images == NOTHING
    assert checks.missing_kept_vectors(chain(), ends(), kept()).images == NOTHING
    assert checks.undead(chain(), kept()).images == NOTHING
    assert checks.unburied(chain(), kept()).images == NOTHING
    assert checks.unknown(ends(), kept()) == NOTHING


@pytest.mark.parametrize("end", ["rejected", "removed"])
def test_what_should_have_followed_is_missing_unless_the_image_is_at_its_end(end: str) -> None:
    behind = chain(downloaded={"1", "2"}, preprocessed={"1"}, embedded=NOTHING, indexed=NOTHING)
    assert checks.missing_downloads(behind, ends()).images == {"3"}
    assert checks.missing_pictures(behind, ends()).images == {"2"}
    assert checks.missing_vectors(behind, ends(), "g1").images == {"1"}
    unprinted = checks.missing_fingerprints(chain(fingerprinted={"1"}), ends(), "g1")
    assert (unprinted.images, unprinted.stage) == ({"2", "3"}, "fingerprint")
    ended = ends(**{end: ALL})
    for missing in (checks.missing_downloads, checks.missing_pictures):
        assert missing(behind, ended).images == NOTHING
    assert checks.missing_vectors(behind, ended, "g1").images == NOTHING
    assert checks.missing_fingerprints(chain(fingerprinted=NOTHING, indexed=NOTHING), ended, "g1").images == NOTHING
    assert checks.missing_ends(chain(indexed={"1"}), ends()).images == {"2", "3"}


def test_a_rejection_that_was_overcome_later_excuses_no_lost_vector() -> None:
    """A later release can read the file, or one generation's preprocessing where another's cannot."""
    lost = chain(embedded={"3"}, indexed={"1"})
    assert checks.missing_vectors(lost, ends(rejected=ALL), "g1").images == {"1"}


def test_the_catalogue_should_have_all_that_the_log_tells() -> None:
    assert checks.missing_documents(chain(), ends(removed={"2"}), kept(posts={"1"})).images == {"3"}
    lacking = kept(posts={"1", "2"}, originals={"1"}, pictures={"2"})
    assert checks.missing_parts(chain(), ends(), lacking).images == {"1", "2"}
    assert checks.missing_parts(chain(), ends(), kept(fingerprints={"1", "2"})).images == {"3"}
    rejected = chain(rejected={"3"}, preprocessed={"1", "2"})
    assert checks.missing_parts(rejected, ends(), kept()).images == {"3"}
    assert checks.missing_kept_vectors(chain(), ends(), kept(posts={"1", "2"}, vectors={"1"})).images == {"2"}


def test_what_is_removed_is_nowhere_but_a_tombstone_stays() -> None:
    removed = chain(removed={"2", "4"})
    assert checks.undead(removed, kept()).images == {"2"}
    assert checks.unburied(removed, kept()).images == {"4"}
    assert checks.unburied(removed, kept(documents={"1", "3"}, vectors={"1"}, tombstones={"2", "4"})).images == NOTHING
    assert checks.unknown(ends(posted={"1"}, removed={"2"}), kept()) == {"3"}


def test_what_waits_is_no_gap_and_a_dead_letter_explains_one() -> None:
    missing = Missing("not-embedded", "preprocessed, but not embedded in g1", "embed", ALL)
    moving, (buried, still) = settled(missing, {"1"}, {"1": "embed/image/11/g1", "2": "embed/image/12/g1"})
    assert moving == {"1"}
    assert (buried.found, buried.commands) == (("2",), ("mapseek failures retry embed/image/12/g1",))
    assert (still.found, still.commands) == (("3",), ("mapseek replay --stage embed --image 3",))
    assert settled(missing, ALL, {}) == (ALL, [])


def test_few_are_closed_one_by_one_and_many_all_at_once() -> None:
    few, many = [str(number) for number in range(20)], [str(number) for number in range(21)]
    assert len(closing(few, str, "all")) == 20
    assert closing(many, str, "all") == ("all",)
    _, (gap,) = settled(Missing("no-document", "", "persist", many), (), {})
    assert gap.commands == ("mapseek rebuild catalogue",)
    _, (gap,) = settled(Missing("not-downloaded", "", "download", many), (), {}, "7")
    assert gap.commands == ("mapseek replay --stage download --guild 7",)
    _, (gap,) = settled(Missing("not-downloaded", "", "download", many), (), dict.fromkeys(many, "download/image/5"))
    assert gap.commands == ("mapseek failures retry --stage download",)


def test_a_lost_blob_is_fetched_or_made_again() -> None:
    again = {"3": "mapseek archive /maps/a.png --guild local"}
    stored = Stored(9, frozenset("123"), frozenset("14"), frozenset("45"), ("ab" * 32,), again)
    posted, made, known_by, orphan = lost_blobs(stored, ends(rejected={"2"}, removed={"4"}), None)
    assert posted.found == ("1", "3")
    assert posted.commands == ("mapseek archive /maps/a.png --guild local", "mapseek replay --stage download --image 1")
    assert (made.found, made.commands) == (("1",), ("mapseek replay --stage preprocess --image 1",))
    assert (known_by.found, known_by.commands) == (("5",), ("mapseek replay --stage fingerprint --image 5",))
    assert (orphan.of, orphan.commands) == ("blob", ("mapseek sweep",))


def test_on_discord_only_that_counts_which_nothing_has_settled_meanwhile() -> None:
    seen = Seen()
    seen.add(Difference("7", "8", "#gallery", images=5, gone=("1", "2", "3")))
    seen.add(Difference("7", "9", "#vault", unreadable=True))
    seen.add(Difference("6", "", unreadable=True))
    (gap,) = seen.gaps(ALL, {"1"}, Removals(leaving={"2"}))
    assert (gap.kind, gap.found, gap.commands) == ("gone", ("3",), ("mapseek sync --channel 8",))
    assert seen.images == 5
    assert seen.unreadable == ["#vault (9)", "the whole guild 6"]


def test_a_removal_that_led_to_nothing_is_worked_on_again_rather_than_requested_again() -> None:
    seen = Seen()
    seen.add(Difference("7", "8", "#gallery", gone=("1", "2", "3")))
    unasked, asked, buried = seen.gaps(ALL, NOTHING, Removals(asked={"2"}, letters={"3": "remove/removal/5"}))
    assert (unasked.found, unasked.commands) == (("1",), ("mapseek sync --channel 8",))
    assert (asked.found, asked.commands) == (("2",), ("mapseek replay --stage remove --guild 7",))
    assert (buried.found, buried.commands) == (("3",), ("mapseek failures retry remove/removal/5",))


def test_what_is_removed_while_the_index_is_compared_is_no_gap() -> None:
    index = Index(images=ALL, later=NOTHING)
    assert index_gaps(chain(), ends(posted={"1", "2"}, removed={"3"}), index) == []
    (gap,) = index_gaps(chain(removed={"3"}), ends(posted={"1", "2"}, removed={"3"}), index)
    assert (gap.kind, gap.found) == ("index-too-much", ("3",))
    (gap,) = index_gaps(chain(embedded={"1", "2"}), ends(posted={"1", "2"}), index)
    assert (gap.kind, gap.found) == ("index-too-much", ("3",))
