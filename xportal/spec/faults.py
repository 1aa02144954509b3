"""What is wrong with a spec's file: all of it at once, each fault with where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xportal.errors import UsageError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: the keys that lead to it, the line, and a clause that says what is there, and what was
    expected.
    """

    path: Path
    line: int
    message: str

    def text(self, file: str) -> str:
        """One line, as compilers write it."""
        where = f"{path_text(self.path)}: " if self.path else ""
        return f"{file}:{self.line}: {where}{self.message}"


class SpecInvalid(UsageError):
    """A spec's file that makes no sense; nothing was tried."""

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        count = "an error" if len(faults) == 1 else f"{len(faults)} errors"
        super().__init__(
            f"{file} has {count}: nothing was done",
            hint="xportal check FILE reads it again; xportal init writes an example that explains each key",
        )
        self.details = tuple(fault.text(file) for fault in self.faults)


def path_text(path: Path) -> str:
    """As `drives[0].size`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")
