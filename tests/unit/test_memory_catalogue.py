"""The catalogue suite on the fake. It must behave like the real ones, or the tests that use it prove nothing."""

import pytest

from tests.support.catalogue import CatalogueSuite, Outage
from tests.support.fakes import MemoryCatalogue


class TestMemory(CatalogueSuite):
    @pytest.fixture
    def catalogue(self) -> MemoryCatalogue:
        return MemoryCatalogue()

    @pytest.fixture
    def other(self, catalogue: MemoryCatalogue) -> MemoryCatalogue:
        return catalogue

    @pytest.fixture
    def outage(self, catalogue: MemoryCatalogue) -> Outage:
        return Outage(catalogue, lambda: setattr(catalogue, "down", True), lambda: setattr(catalogue, "down", False))
