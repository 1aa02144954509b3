"""Following an event log as it grows."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

from ..core import units
from ..core.config import Paths
from ..core.state import log_path
from .checkpoint import freeze_unit


def print_log(paths: Paths, name: str, first: int) -> bool:
    """Print a log as it grows. Returns whether it came to its end line."""
    line = ""
    for line in follow(log_path(paths, name), lambda: is_written(name), first):
        print(line, flush=True)
    if json.loads(line or "{}").get("end"):
        return True
    print(f"xportal: nobody writes the log {name} any more, and it has no end", file=sys.stderr)
    return False


def is_written(name: str) -> bool:
    """Whether somebody will go on with the log."""
    boot = [*units.CLOUD_INIT.split(), units.READY, units.FINISH]
    return any(map(units.is_pending, boot if name == "boot" else [units.save_unit(name), freeze_unit(name)]))


def follow(path: Path, alive: Callable[[], bool], first: int = 0, every: float = 0.2) -> Iterator[str]:
    """The log's lines from number `first` on, as they come, up to its end line.

    Stops without one if `alive`, asked after two seconds of silence, says that nobody will write it.
    """
    number, rest, quiet, offset = 0, b"", 0.0, 0
    dead = False
    while True:
        data = read_from(path, offset)
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if number >= first:
                yield line.decode()
            number += 1
            if b'"end": true' in line and json.loads(line).get("end"):
                return
        if dead:
            return
        quiet = 0.0 if data else quiet + every
        if quiet >= 2:
            # A writer that ended just now may have left its last lines: they are read once more.
            quiet, dead = 0.0, not alive()
        elif not data:
            time.sleep(every)


def read_from(path: Path, offset: int) -> bytes:
    """What a file holds beyond `offset`; nothing if it does not exist yet."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""
