"""Visual words: similar descriptors have the same word, mirrored ones the mirrored word, and the codebook can be trained again."""

from pathlib import Path

import numpy as np
import pytest

from infra.sandbox.training import codebook as training
from infra.vision.features import (
    assign_words,
    compute_signatures,
    count_shared_features,
    find_nearest_words,
    load_codebook,
    mirror_descriptors,
    mirror_words,
    sort_words,
)
from tests.support.feature_search import alter_descriptors, random_descriptors

ROWS = random_descriptors(1, 300)


def test_shapes_and_types_fit_a_print() -> None:
    words, signatures = assign_words(ROWS)
    assert (words.shape, words.dtype) == ((300,), np.uint16)
    assert (signatures.shape, signatures.dtype) == ((300,), np.uint64)
    assert words.max() < len(load_codebook().words)
    assert [len(each) for each in assign_words(np.zeros((0, 128), np.uint8))] == [0, 0]


def test_the_nearest_word_is_the_first_probe_and_the_others_follow_by_distance() -> None:
    probes = find_nearest_words(ROWS, 3)
    assert (probes[:, 0] == assign_words(ROWS)[0]).all()
    rows = ROWS / np.linalg.norm(ROWS.astype(np.float64), axis=1, keepdims=True)
    distances = np.linalg.norm(load_codebook().words[probes] - rows[:, None], axis=2)
    assert (np.diff(distances, axis=1) >= -1e-4).all()
    assert all(len(set(each)) == 3 for each in probes.tolist())


def test_the_same_point_has_a_near_signature_and_another_point_has_not() -> None:
    words, signatures = assign_words(ROWS)
    again = compute_signatures(alter_descriptors(ROWS), words)
    assert np.median(np.bitwise_count(signatures ^ again)) < 12
    assert np.median(np.bitwise_count(signatures ^ compute_signatures(np.roll(ROWS, 1, axis=0), words))) > 22


def test_signatures_within_several_words_are_those_within_each() -> None:
    probes = find_nearest_words(ROWS, 2)
    both = compute_signatures(ROWS, probes)
    assert (both[:, 1] == compute_signatures(ROWS, probes[:, 1])).all()


def test_mirrored_words_are_those_of_mirrored_descriptors() -> None:
    found, expected = assign_words(mirror_descriptors(ROWS))[0], mirror_words(assign_words(ROWS)[0])
    assert (found == expected).mean() > 0.99  # except words that are nearly their own mirror image
    assert (mirror_words(expected) == assign_words(ROWS)[0]).all()


def test_descriptors_of_any_scale_and_blank_ones_have_words() -> None:
    halves = (ROWS // 2).astype(np.uint8)
    assert (assign_words(halves)[0] == assign_words(ROWS)[0]).mean() > 0.6
    assert len(assign_words(np.zeros((2, 128), np.uint8))[0]) == 2


def test_the_codebook_is_trained_by_one_command_and_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CODEBOOK_PIECES": 3, "WORD_PAIRS": 32, "SAMPLED_DESCRIPTORS": 500, "KMEANS_ROUNDS": 2}.items():
        monkeypatch.setattr(training, name, value)
    training.train_codebook(None, tmp_path / "one.npz")
    training.train_codebook(None, tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    assert np.load(tmp_path / "one.npz")["words"].shape == (32, 128)


def test_shared_features_are_counted_once_each() -> None:
    words, signatures = assign_words(ROWS)
    all_words = sort_words(words, signatures)
    assert count_shared_features(all_words, words, signatures) == len(ROWS)
    assert count_shared_features(all_words, words[:50], ~signatures[:50]) == 0
    again = compute_signatures(alter_descriptors(ROWS), words)
    assert count_shared_features(all_words, words, again) > 0.8 * len(ROWS)
    assert count_shared_features(sort_words(words[:0], signatures[:0]), words, signatures) == 0
    assert count_shared_features(all_words, words[:0], signatures[:0]) == 0
