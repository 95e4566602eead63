"""A training of a few steps: the loss falls, and an interrupted training ends with the same weights."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import MapSeekError
from infra.sandbox.training.pool import Pool, draw_training_pool

if TYPE_CHECKING:
    import torch


@pytest.fixture(scope="module")
def pool() -> Pool:
    return draw_training_pool(39, None)


@pytest.fixture
def cpu() -> Iterator["torch.device"]:
    """Limit torch to one thread: two threads on a busy machine wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.device("cpu")
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("steps", "pairs"), [(8, 12), pytest.param(20, 12, marks=pytest.mark.slow)])
def test_the_loss_falls_and_a_resumed_training_ends_with_the_same_weights(
    pool: Pool, tmp_path: Path, cpu: "torch.device", steps: int, pairs: int
) -> None:
    import torch

    from infra.clip.loading import build_seeded_model, load_tower
    from infra.sandbox.training.loop import CHECKPOINT_NAME, TrainingPlan, save_weights, train

    half = steps // 2
    plan = TrainingPlan(steps, pairs=pairs, rate=5e-4, warm_up=steps // 4, checkpoint_every=half)
    whole, resumed = (build_seeded_model("mapseek-small", seed) for seed in (1, 2))
    losses = []
    for done in train(whole.visual, pool, plan, tmp_path / "whole", cpu):
        losses.append(done.loss)
        if done.step == steps - steps // 4:  # the checkpoint that is left after a kill
            (tmp_path / "killed").mkdir()
            shutil.copy(tmp_path / "whole" / CHECKPOINT_NAME, tmp_path / "killed")
    assert len(losses) == steps
    assert sum(losses[half:]) < sum(losses[:half])
    assert [done.step for done in train(resumed.visual, pool, plan, tmp_path / "killed", cpu)] == list(range(half + 1, steps + 1))
    for name, weight in whole.visual.state_dict().items():
        assert torch.equal(weight, resumed.visual.state_dict()[name]), name

    save_weights(whole, tmp_path / "small.safetensors")
    tower = load_tower("mapseek-small", str(tmp_path / "small.safetensors"), device="cpu", precision="fp32")
    assert (tower.name, tower.dimensions) == ("open_clip/mapseek-small/small.safetensors/fp32", 512)


def test_a_checkpoint_of_another_training_is_refused(pool: Pool, tmp_path: Path, cpu: "torch.device") -> None:
    from infra.clip.loading import build_seeded_model
    from infra.sandbox.training.loop import TrainingPlan, train

    tower = build_seeded_model("mapseek-small", 1).visual
    list(train(tower, pool, TrainingPlan(1, pairs=4), tmp_path, cpu))
    assert list(train(tower, pool, TrainingPlan(1, pairs=4), tmp_path, cpu)) == []
    with pytest.raises(MapSeekError, match="a training with other settings: give the same settings, or another folder in --run"):
        next(train(tower, pool, TrainingPlan(2, pairs=5), tmp_path, cpu))


def test_the_learning_rate_rises_stays_level_and_falls_to_zero() -> None:
    from infra.sandbox.training.loop import TrainingPlan

    plan = TrainingPlan(1000, rate=1.0, warm_up=50, decline=0.3)
    assert plan.rate_at(0) == pytest.approx(0.02)
    assert plan.rate_at(49) == plan.rate_at(699) == 1.0
    assert plan.rate_at(850) == pytest.approx(0.5)
    assert plan.rate_at(999) == pytest.approx(1 / 300)
