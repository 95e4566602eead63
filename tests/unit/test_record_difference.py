"""What `mapseek sync` records and counts: a removal that was requested before is not counted as requested now."""

from infra.discord.rest.compare import ChannelDifference, record_difference
from tests.support.facts import MOMENT, posted
from tests.support.fakes import MemoryJournal, MemoryPosts


async def test_what_is_recorded_now_is_counted_and_what_was_requested_before_is_not() -> None:
    journal = MemoryJournal()
    missed, known = posted("1"), posted("2").model_copy(update={"message_id": "11"})
    other = posted("3").model_copy(update={"message_id": "12"})
    differences = (
        ChannelDifference("7", "8", missed=(missed, known, other)),
        ChannelDifference("7", "8", deleted=(11,), edited={12: frozenset()}, gone=("2", "3")),
        ChannelDifference("7", "8", gone=("1", "2", "3"), vanished=True),
    )

    async def synced() -> list[tuple[int, int]]:
        return [await record_difference(each, journal, MemoryPosts(journal), lambda: MOMENT) for each in differences]

    assert await synced() == [(3, 0), (0, 2), (0, 3)]
    assert await synced() == [(0, 0), (0, 0), (0, 0)]
