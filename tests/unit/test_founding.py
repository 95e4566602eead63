"""What the settings' model is to an archive that has one: a default gives way, what is set must be known to it."""

from collections.abc import Callable

import pytest

from contracts.errors import MapSeekError
from contracts.events import GenerationActivated, GenerationStarted
from contracts.generations import Generations
from infra.clip.shipped import SMALL_MODEL, shipped_tag
from pipeline.generations.founding import check_settings
from pipeline.settings import Settings
from tests.suites.facts import MOMENT

Make = Callable[..., Settings]


def answering_with(model: str | None, pretrained: str | None) -> Generations:
    about = {
        "generation": "g1",
        "encoder": f"open_clip/{model}/{pretrained}/fp32",
        "digest": "d",
        "preprocessing": "p1",
        "dimensions": 4,
    }
    started = GenerationStarted(model=model or "", pretrained=pretrained, precision="fp32", started_at=MOMENT, **about)
    begun = Generations() if model is None else Generations().after(started, 1)
    return begun.after(GenerationActivated(number=1, **about), 2)


@pytest.mark.parametrize("model", ["mapseek-untrained", "ViT-B-32", None])
def test_an_archive_of_another_default_goes_on_where_nothing_is_set(
    settings: Make, model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPSEEK_MODEL", "")
    monkeypatch.setenv("MAPSEEK_PRETRAINED", "")
    check_settings(answering_with(model, None), settings())


def test_a_model_that_is_set_must_be_one_of_the_archives(settings: Make) -> None:
    check_settings(answering_with("mapseek-untrained", None), settings(model="mapseek-untrained"))
    check_settings(answering_with(SMALL_MODEL, shipped_tag(SMALL_MODEL)), settings(model=SMALL_MODEL))
    with pytest.raises(
        MapSeekError, match=r"name mapseek-small \(art-v1\), but this archive answers with mapseek-untrained \(untrained\)"
    ):
        check_settings(answering_with("mapseek-untrained", None), settings(model=SMALL_MODEL))
