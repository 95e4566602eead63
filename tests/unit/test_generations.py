"""Generations: the state that follows from their facts, in any order, and how a process hosts them."""

from collections.abc import Awaitable, Callable

import pytest

from contracts.errors import MapSeekError
from contracts.events import GenerationActivated, GenerationDropped, GenerationStarted
from contracts.generations import Generation, Generations
from infra.nats.projections import FollowedGenerations
from pipeline.generations.hosting import host_generations
from pipeline.generations.lifecycle import build_generation_activated, find_alive_generation
from tests.support.facts import founding_facts
from tests.support.waiting import eventually


def build_generations(*facts: GenerationStarted | GenerationActivated | GenerationDropped) -> Generations:
    generations = Generations()
    for sequence, fact in enumerate(facts, start=1):
        generations = generations.with_fact(fact, sequence)
    return generations


def started(name: str) -> GenerationStarted:
    return founding_facts(name)[0]


def activation(number: int, name: str) -> GenerationActivated:
    return founding_facts(name, number)[1]


def test_the_last_activated_generation_is_active() -> None:
    now = build_generations(started("g1"), activation(1, "g1"), started("g2"))
    assert (now.active, now.find_previous("g1")) == (now.known["g1"], None)
    now = now.with_fact(activation(2, "g2"), 4)
    assert (now.active, now.find_previous("g2")) == (now.known["g2"], now.known["g1"])


def test_a_generation_activated_while_it_is_dropped_is_not_active() -> None:
    """A drop takes a while: a rollback to the same generation may come between its check and its fact."""
    began = (started("g1"), activation(1, "g1"), started("g2"), activation(2, "g2"))
    for last in (
        (activation(3, "g1"), GenerationDropped(generation="g1")),
        (GenerationDropped(generation="g1"), activation(3, "g1")),
    ):
        now = build_generations(*began, *last)
        assert now.active == now.known["g2"]
        assert now.alive == (now.known["g2"],)
        assert build_generation_activated(now, "g2").number == 4  # number 3 is used all the same


def test_a_generation_without_a_known_start_is_not_active() -> None:
    """A newer release may have recorded its start in a version that this release cannot read."""
    now = build_generations(started("g1"), activation(1, "g1"), activation(2, "g2"))
    assert (now.active, list(now.known)) == (now.known["g1"], ["g1"])


async def test_a_failing_generation_does_not_block_others_and_is_reported() -> None:
    ended = []

    async def begin(generation: Generation) -> Callable[[], Awaitable[None]]:
        if generation.name == "g2":
            raise ValueError("a bug")

        async def end() -> None:
            ended.append(generation.name)
            raise ValueError("another bug")

        return end

    followed = FollowedGenerations(build_generations(started("g1"), activation(1, "g1"), started("g2"), started("g3")))
    async with host_generations(followed, begin) as hosted:
        await eventually(lambda: "g3" in hosted._stops)
        assert await hosted.check() == "g2: a bug"
        followed.now = followed.now.with_fact(GenerationDropped(generation="g3"), 5)
        await followed._signal.notify()
        await eventually(lambda: ended == ["g3"])
        await eventually(lambda: "new generations" in hosted.failed)
        assert "new generations: another bug" in (await hosted.check() or "")


def test_an_unknown_or_dropped_generation_is_refused_with_a_sentence() -> None:
    generations = build_generations(*founding_facts("g1", 1), *founding_facts("g2", 2), GenerationDropped(generation="g1"))
    assert find_alive_generation(generations, "g2").name == "g2"
    with pytest.raises(MapSeekError, match="There is no generation 'g9': there is g2"):
        find_alive_generation(generations, "g9")
    with pytest.raises(MapSeekError, match="g1 was dropped"):
        find_alive_generation(generations, "g1")
