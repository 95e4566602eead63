"""The model in the settings and the model of the archive: a default gives way, and a model that is set must be the archive's."""

from collections.abc import Callable

import pytest

from contracts.errors import MapSeekError
from contracts.generations import Generations
from infra.clip.shipped import SMALL_MODEL, find_shipped_tag
from pipeline.generations.lifecycle import check_settings
from pipeline.settings import Settings
from tests.support.facts import founding_facts

CreateSettings = Callable[..., Settings]


def build_generations(model: str, pretrained: str | None) -> Generations:
    started, activated = founding_facts()
    return Generations().with_fact(started.model_copy(update={"model": model, "pretrained": pretrained}), 1).with_fact(activated, 2)


@pytest.mark.parametrize("model", ["mapseek-untrained", "ViT-B-32"])
def test_without_a_set_model_an_archive_keeps_its_model(
    settings: CreateSettings, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPSEEK_MODEL", "")
    monkeypatch.setenv("MAPSEEK_PRETRAINED", "")
    check_settings(build_generations(model, None), settings())


def test_a_set_model_must_be_the_archives(settings: CreateSettings) -> None:
    check_settings(build_generations("mapseek-untrained", None), settings(model="mapseek-untrained"))
    check_settings(build_generations(SMALL_MODEL, find_shipped_tag(SMALL_MODEL)), settings(model=SMALL_MODEL))
    with pytest.raises(
        MapSeekError, match=r"name mapseek-small \(art-v1\), but this archive answers with mapseek-untrained \(untrained\)"
    ):
        check_settings(build_generations("mapseek-untrained", None), settings(model=SMALL_MODEL))
