"""`mapseek sync`: what is recorded and counted of the difference between Discord and the log."""

from contracts.events import ImageHidden
from infra.discord.rest.compare import ChannelDifference, record_difference
from tests.support.facts import MOMENT, posted
from tests.support.fakes import MemoryJournal, MemoryPosts, MemoryUnreadable


async def test_only_facts_that_were_not_recorded_before_are_counted() -> None:
    journal = MemoryJournal()
    missed, known = posted("1"), posted("2").model_copy(update={"message_id": "11"})
    other = posted("3").model_copy(update={"message_id": "12"})
    hidden = ImageHidden(**other.identity, message_id="12", turn=1, hidden_at=MOMENT)
    differences = (
        ChannelDifference("7", "8", missed=(missed, known, other)),
        ChannelDifference("7", "8", deleted=(11,), changes=(hidden,), gone=("2", "3")),
        ChannelDifference("7", "8", gone=("1", "2", "3"), vanished=True),
    )

    async def record_all() -> list[tuple[int, int]]:
        return [
            await record_difference(each, journal, MemoryPosts(journal), MemoryUnreadable(), lambda: MOMENT) for each in differences
        ]

    assert await record_all() == [(3, 0), (0, 2), (0, 3)]
    assert await record_all() == [(0, 0), (0, 0), (0, 0)]
