"""What can be wrong with a checkpoint, and where."""

from __future__ import annotations

NEXT = "Export it again with `eqo quantize`, or copy it again if it was damaged on the way."


class CheckpointError(ValueError):
    """A file, graph or image that can't be used; the message names where, expected, found and the next step."""


def fault(where: str, what: str, expected: object, found: object, step: str = NEXT) -> CheckpointError:
    """The error for a broken rule; long findings are cut."""
    shown = str(found)
    shown = shown if len(shown) <= 80 else shown[:80] + "..."
    return CheckpointError(f"{where}: {what}: expected {expected}, found {shown}. {step}")


def bounded(where: str, what: str, found: int, low: int, high: int) -> int:
    """`found` if it lies between the limits, which are allowed."""
    if low <= found <= high:
        return found
    raise fault(where, what, f"{low} to {high}", found)
