"""Counts in sentences."""


def counted(number: int, what: str) -> str:
    """`1 picture`, `1,200 pictures`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
