"""A run that is asked to leave saves where it is, and goes on from there another time. No torch."""

from __future__ import annotations


class StoppedError(Exception):
    """The run leaves because it was asked to. `place`: its last checkpoint's; None where it has none."""

    def __init__(self, by: str, place: dict[str, int] | None) -> None:
        super().__init__(f"stopped by {by}")
        self.by, self.place = by, place


class Stop:
    """Whether the run was asked to leave, and by what. Looked at after each step of training, and between images."""

    def __init__(self) -> None:
        self.by: str | None = None
        self.place: dict[str, int] | None = None  # where it was last saved

    def ask(self, by: str) -> None:
        self.by = self.by or by

    def check(self) -> None:
        """Raises StoppedError where the run was asked to leave."""
        if self.by is not None:
            raise StoppedError(self.by, self.place)
