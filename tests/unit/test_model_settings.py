"""What the settings' model is to an archive that has one: a default gives way, what is set must be known to it."""

from collections.abc import Callable

import pytest

from contracts.errors import MapSeekError
from contracts.generations import Generations
from infra.clip.shipped import SMALL_MODEL, find_shipped_tag
from pipeline.generations.lifecycle import check_settings
from pipeline.settings import Settings
from tests.support.facts import founding_facts

Make = Callable[..., Settings]


def answering_with(model: str, pretrained: str | None) -> Generations:
    started, activated = founding_facts()
    return Generations().with_fact(started.model_copy(update={"model": model, "pretrained": pretrained}), 1).with_fact(activated, 2)


@pytest.mark.parametrize("model", ["mapseek-untrained", "ViT-B-32"])
def test_an_archive_of_another_default_goes_on_where_nothing_is_set(
    settings: Make, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPSEEK_MODEL", "")
    monkeypatch.setenv("MAPSEEK_PRETRAINED", "")
    check_settings(answering_with(model, None), settings())


def test_a_model_that_is_set_must_be_one_of_the_archives(settings: Make) -> None:
    check_settings(answering_with("mapseek-untrained", None), settings(model="mapseek-untrained"))
    check_settings(answering_with(SMALL_MODEL, find_shipped_tag(SMALL_MODEL)), settings(model=SMALL_MODEL))
    with pytest.raises(
        MapSeekError, match=r"name mapseek-small \(art-v1\), but this archive answers with mapseek-untrained \(untrained\)"
    ):
        check_settings(answering_with("mapseek-untrained", None), settings(model=SMALL_MODEL))
