"""Event logs: what the agent does, in sentences, for whoever follows."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional


class Log:
    """A log that only grows. Opening it again goes on with its clock."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._clock = clock
        self._began: Optional[float] = None
        self.seconds: Dict[str, float] = {}
        if path.exists():
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            self._began = json.loads(first)["clock"] if first else None

    def say(self, step: str, text: str) -> None:
        """One sentence about a step."""
        print(f"xportal: {text}", file=sys.stderr, flush=True)
        self._write({"step": step, "text": text})

    @contextmanager
    def step(self, step: str, text: str) -> Iterator[None]:
        """Say what begins, and count its time in `seconds`, also when it fails."""
        self.say(step, text)
        begin = self._clock()
        try:
            yield
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + self._clock() - begin, 3)

    def end(self, ok: bool, error: Optional[str], result: Dict[str, Any]) -> None:
        """The last line."""
        print(f"xportal: {error or 'done'}", file=sys.stderr, flush=True)
        self._write({"end": True, "ok": ok, "error": error, "result": result})

    def _write(self, fields: Dict[str, Any]) -> None:
        now = self._clock()
        line: Dict[str, Any] = {}
        if self._began is None:
            self._began = line["clock"] = now
        line = {"t": round(now - self._began, 3), **fields, **line}
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, json.dumps(line).encode() + b"\n")
        finally:
            os.close(handle)
