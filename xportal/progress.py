"""Where the work tells what it does while it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A person at a terminal, a log, a test."""

    def say(self, text: str) -> None:
        """A fact that stays: one sentence, without an end."""

    def warn(self, text: str) -> None:
        """What the person may have to do something about."""

    def update(self, text: str) -> None:
        """What is waited for right now; the next word of any kind replaces it."""
