"""The models that score outlines: one command trains them, and numpy gives the same scores as torch."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from infra.sandbox.training import outlines
from infra.vision import regions
from infra.vision.regions import (
    EDGE_FIGURES,
    INNER_CORNERS,
    INNER_PX,
    NET_SIDE_PX,
    compute_iou,
    find_quads,
    prepare_lab,
    score_outlines,
    to_net_input,
)

SCENES = 6


@pytest.fixture(scope="module")
def examples() -> outlines.OutlineExamples:
    parts = [part for seed in range(SCENES) if (part := outlines.collect_examples(seed, [])) is not None]
    return outlines.OutlineExamples(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def test_examples_have_crops_figures_and_overlaps(examples: outlines.OutlineExamples) -> None:
    assert examples.seen.shape == (len(examples.overlaps), NET_SIDE_PX, NET_SIDE_PX, 3)
    assert examples.overlaps.min() < 0.2
    assert examples.overlaps.max() == pytest.approx(1, abs=1e-3)
    assert examples.figures.shape == (len(examples.overlaps), EDGE_FIGURES)


def test_it_learns_and_numpy_gives_the_same_scores(examples: outlines.OutlineExamples, monkeypatch: pytest.MonkeyPatch) -> None:
    net = outlines.train_net(examples, epochs=60)
    shown = torch.from_numpy(to_net_input(examples.seen)).permute(0, 3, 1, 2)
    sides = outlines.fit_side_weights(examples)
    for scores in (net(shown).detach().numpy()[:, 0], examples.figures @ sides):
        assert scores[examples.overlaps > 0.85].mean() > scores[examples.overlaps < 0.5].mean() + 1
    scores = net(shown).detach().numpy()[:, 0] + regions.EDGE_LOGIT_WEIGHT * (examples.figures @ sides)
    layers = {name: value.astype(np.float32) for name, value in outlines.export_layers(net, sides).items()}
    monkeypatch.setattr(regions, "_layers", lambda: layers)
    assert np.abs(regions.run_net(examples.seen, examples.figures) - scores).max() < 0.1  # weights are stored in half precision


def test_one_command_trains_it(tmp_path: Path) -> None:
    app = Typer()
    app.command()(outlines.train_outline_judge)
    done = CliRunner().invoke(app, ["--scenes", "4", "--epochs", "1", "--out", str(tmp_path / "judge.npz")])
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "judge.npz") as kept, np.load(outlines.JUDGE_FILE) as shipped:
        assert {name: kept[name].shape for name in kept.files} == {name: shipped[name].shape for name in shipped.files}


def test_turning_keeps_every_pixel() -> None:
    seen = np.random.default_rng(1).integers(0, 256, (2, NET_SIDE_PX, NET_SIDE_PX, 3), dtype=np.uint8)
    turns = [outlines.turn_examples(seen, np.zeros((2, 4, 2), np.float32), turn)[0] for turn in range(8)]
    assert len({each.tobytes() for each in turns}) == 8
    assert all(np.array_equal(np.sort(each, axis=None), np.sort(seen, axis=None)) for each in turns)


@pytest.mark.parametrize("turn", range(8))
@pytest.mark.parametrize("corner", range(4))
def test_corners_are_turned_with_the_crop(turn: int, corner: int) -> None:
    off = np.array([3.0, -2.0], np.float32)
    x, y = INNER_CORNERS[corner] + off
    seen, corners = np.zeros((1, NET_SIDE_PX, NET_SIDE_PX, 3), np.uint8), np.zeros((1, 4, 2), np.float32)
    seen[0, round(y + 0.5), round(x + 0.5)] = 255
    corners[0, corner] = off / INNER_PX
    seen, corners = outlines.turn_examples(seen, corners, turn)
    (row, column), (there,) = np.argwhere(seen[0, :, :, 0])[0], np.flatnonzero(np.abs(corners[0]).any(axis=1))
    assert np.abs(INNER_CORNERS[there] + corners[0, there] * INNER_PX - (column, row)).max() <= 0.5


@pytest.mark.parametrize("seed", [1_000_001, 1_000_002, 1_000_006, 1_000_009])
def test_the_shipped_models_prefer_the_outline_of_the_piece(seed: int) -> None:
    drawn = outlines.draw_scene(np.random.default_rng(seed), [])
    lab = prepare_lab(np.asarray(drawn.image))
    truth = (np.array(drawn.place).reshape(4, 2) * (lab.shape[1], lab.shape[0]) - 0.5).astype(np.float32)
    quads = find_quads(lab)
    order = np.argsort(-score_outlines(lab, quads), kind="stable")
    assert max(compute_iou(truth, quads[at]) for at in order[:6]) > 0.8


def test_no_quadrilaterals_give_no_scores() -> None:
    lab = cv2.cvtColor(np.full((60, 80, 3), 90, np.uint8), cv2.COLOR_RGB2LAB)
    assert score_outlines(np.asarray(lab, np.uint8), np.empty((0, 4, 2), np.float32)).shape == (0,)
