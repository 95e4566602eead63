"""Segments of the feature index: sealing, merging, writing and mapping keep the postings. And the votes of local features."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from infra.features import segment as segment_module
from infra.features.scoring import count_votes
from infra.features.segment import WORD_COUNT, Segment, merge_segments, open_segment, seal_segment, write_segment
from infra.features.shard import MERGE_RATIO, plan_merges

Posting = tuple[int, int, int, int]

UPRIGHT = np.zeros(100, np.uint16)
"""Equal poses."""


def make_segment(first: int, images: int, each: int = 40) -> Segment:
    random = np.random.default_rng(first)
    numbers = np.repeat(np.arange(first, first + images, dtype=np.uint32), each)
    words = random.integers(0, WORD_COUNT, len(numbers)).astype(np.uint16)
    signatures = random.integers(0, 2**63, len(numbers), dtype=np.uint64)
    return seal_segment(words, signatures, numbers, random.integers(0, 2**16, len(numbers)).astype(np.uint16))


def list_postings(*segments: Segment) -> list[Posting]:
    return sorted(
        (int(word), int(image), int(signature), int(pose))
        for segment in segments
        for word, image, signature, pose in zip(
            np.repeat(np.arange(WORD_COUNT), np.diff(segment.starts)),
            segment.images,
            segment.signatures,
            segment.poses,
            strict=True,
        )
    )


@pytest.mark.parametrize("mapped_from", [1, 10**9], ids=["in files", "in memory"])
def test_merging_keeps_all_postings_except_those_of_removed_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped_from: int
) -> None:
    monkeypatch.setattr(segment_module, "MIN_MAPPED_POSTINGS", mapped_from)
    parts = [make_segment(0, 5), make_segment(5, 3), make_segment(8, 20)]
    alive = np.ones(10, bool)
    alive[[2, 6]] = False
    whole = merge_segments(parts, alive, tmp_path)
    assert list_postings(whole) == [posting for posting in list_postings(*parts) if posting[1] not in (2, 6)]
    assert (whole.first, whole.last) == (0, 27)
    assert list(tmp_path.iterdir()) == []


def test_a_segment_of_removed_images_is_merged_into_an_empty_one(tmp_path: Path) -> None:
    assert len(merge_segments([make_segment(0, 3)], np.zeros(3, bool), tmp_path)) == 0


def test_a_written_segment_is_mapped_again(tmp_path: Path) -> None:
    segment = make_segment(3, 9)
    with (tmp_path / "segment").open("wb") as file:
        write_segment(segment, file)
    again = open_segment(tmp_path / "segment", "name", segment.first, segment.last)
    assert list_postings(again) == list_postings(segment)
    assert (tmp_path / "segment").stat().st_size == 14 * len(segment) + 8 * (WORD_COUNT + 1)


@pytest.mark.parametrize("content", [b"", b"short", bytes(8 * (WORD_COUNT + 1) + 5), bytes(8 * WORD_COUNT) + b"\x01" + bytes(7)])
def test_a_file_that_is_not_a_segment_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "segment").write_bytes(content)
    with pytest.raises(ValueError, match=r"segment|empty"):
        open_segment(tmp_path / "segment", "name", 0, 0)


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="no visual word"):
        seal_segment(np.array([WORD_COUNT], np.uint16), np.zeros(1, np.uint64), np.zeros(1, np.uint32), UPRIGHT[:1])


def test_few_segments_remain_after_many_are_sealed() -> None:
    sizes: list[int] = []
    rewritten = 0
    for _ in range(2000):
        sizes.append(1)
        count = plan_merges(sizes)[-1]
        merging = sizes[len(sizes) - count :]
        rewritten += sum(merging)
        sizes[len(sizes) - count :] = [sum(merging)]
        assert all(before >= MERGE_RATIO * after for before, after in pairwise(sizes))
    assert len(sizes) < 8
    assert rewritten < 2000 * 25


def test_segments_that_were_left_for_later_are_merged_as_well() -> None:
    assert plan_merges([]) == []
    assert plan_merges([900, 300, 100, 30]) == [1, 1, 1, 1]
    assert plan_merges([1000, 100, 100, 100, 20]) == [1, 3, 1]
    assert plan_merges([500, 100, 100, 100]) == [3, 1]


@pytest.mark.parametrize("long", [1, 10**6], ids=["in place", "copied together"])
def test_a_feature_votes_once_for_an_image_with_its_nearest_pair(monkeypatch: pytest.MonkeyPatch, long: int) -> None:
    monkeypatch.setattr("infra.features.scoring._LONG_LIST", long)
    words = np.array([5, 5, 5, 9], np.uint16)
    marks = np.array([0, 0b11, 0b1, 2**64 - 1], np.uint64)
    one = seal_segment(words, marks, np.array([0, 0, 1, 2], np.uint32), UPRIGHT[:4])
    probes, query = np.array([[5, 9]], np.uint16), np.zeros((1, 2), np.uint64)
    votes = count_votes([one], probes, query, UPRIGHT[:1], 4)
    assert votes[0] > votes[1] > 0
    assert votes[2] == votes[3] == 0
    twice = count_votes([one], np.repeat(probes, 2, axis=0), np.repeat(query, 2, axis=0), UPRIGHT[:2], 4)
    assert twice[0] == pytest.approx(2 * votes[0], rel=1e-5)


def test_a_query_compares_at_most_max_postings(monkeypatch: pytest.MonkeyPatch) -> None:
    common = seal_segment(np.zeros(50, np.uint16), np.zeros(50, np.uint64), np.arange(50, dtype=np.uint32), UPRIGHT[:50])
    rare = seal_segment(np.ones(1, np.uint16), np.zeros(1, np.uint64), np.array([50], np.uint32), UPRIGHT[:1])
    probes = np.array([[0], [1]], np.uint16)
    monkeypatch.setattr("infra.features.scoring.MAX_POSTINGS", 40)
    assert np.flatnonzero(count_votes([common, rare], probes, np.zeros((2, 1), np.uint64), UPRIGHT[:2], 51)).tolist() == [50]


def test_only_votes_that_agree_on_turn_and_size_count() -> None:
    """Image 0 is the query turned by 90 degrees and half as large. Each feature of image 1 has another turn and size."""
    query = np.array([0x1040, 0x3050, 0x5060, 0x7070], np.uint16)
    turned = (query + np.uint16(0x4000)) - np.uint16(16)
    scattered = np.array([0x1040, 0xB050, 0x5090, 0xF0C0], np.uint16)
    words = np.arange(4, dtype=np.uint16)
    one = seal_segment(
        np.tile(words, 2), np.zeros(8, np.uint64), np.repeat(np.arange(2, dtype=np.uint32), 4), np.concatenate([turned, scattered])
    )
    votes = count_votes([one], words[:, None], np.zeros((4, 1), np.uint64), query, 2)
    assert votes[0] == pytest.approx(4 * votes[1])


def test_turn_and_size_are_checked_for_the_shortlist_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.features.scoring._SHORTLIST", 2)
    words = np.array([1, 2, 1, 2, 3, 1], np.uint16)
    one = seal_segment(words, np.zeros(6, np.uint64), np.array([0, 0, 1, 1, 1, 2], np.uint32), UPRIGHT[:6])
    votes = count_votes([one], np.array([[1], [2], [3]], np.uint16), np.zeros((3, 1), np.uint64), UPRIGHT[:3], 3)
    assert votes[1] > votes[0] > votes[2] == 0
