"""What two catalogues keep, image by image: for comparing them, and for making one like the other."""

from collections.abc import AsyncIterator

from contracts.ports import Kept


async def side_by_side(left: AsyncIterator[Kept], right: AsyncIterator[Kept]) -> AsyncIterator[tuple[Kept | None, Kept | None]]:
    """Pairs of what is kept of the same image, None where one has nothing. Both come in order of image id, and so do the pairs."""
    ours, theirs = await anext(left, None), await anext(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.image_id < theirs.image_id):
            yield ours, None
            ours = await anext(left, None)
        elif ours is None or theirs.image_id < ours.image_id:
            yield None, theirs
            theirs = await anext(right, None)
        else:
            yield ours, theirs
            ours, theirs = await anext(left, None), await anext(right, None)
