"""A process works on many pictures at the same time, so each picture uses only one thread."""

from collections.abc import Callable

from threadpoolctl import threadpool_info

from infra.nats.connection import LogAddress
from pipeline.engine.registry import find_stages
from pipeline.process import open_process
from pipeline.settings import Settings


async def test_matrices_are_multiplied_in_one_thread(log_address: LogAddress, settings: Callable[..., Settings]) -> None:
    before = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    async with open_process(settings(), log_address, find_stages(["persist"])):
        during = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    assert during
    assert set(during) == {1}
    assert [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"] == before
