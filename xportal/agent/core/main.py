"""The command line of the agent."""

from __future__ import annotations

import os
import sys
from typing import Callable, Dict, List, Optional

from .boot import make_home, open_machine
from .config import Paths
from .extensions import load
from .final_save import run_save
from .process import AgentError
from .save_requests import Request, request_save
from .shutdown import leave
from .watching import watch


def main(argv: List[str]) -> int:
    """Run one command (see the package's docstring). Returns its exit status."""
    os.chdir("/")
    paths, more = Paths(), load()
    command, *words = argv
    commands: Dict[str, Callable[[], object]] = {
        "open": lambda: open_machine(paths),
        "home": lambda: make_home(paths),
        "ready": lambda: None,  # the full agent goes on from there
        "save": lambda: request_save(paths, words[0], Request(grace=read_grace(words), attended="--attended" in words)),
        "run-save": lambda: run_save(paths, words[0], more),
        "watch": lambda: watch(paths, more),
        "leave": lambda: leave(paths, more),
        **more.commands(paths, words),
    }
    try:
        if command not in commands:
            raise AgentError("the full agent is not here yet: xportal up brings it")
        return 1 if commands[command]() is False else 0
    except AgentError as failure:
        print(f"xportal: {failure}", file=sys.stderr)
        return 1


def read_grace(words: List[str]) -> Optional[int]:
    """The seconds after `--grace`."""
    return round(float(words[words.index("--grace") + 1])) if "--grace" in words else None
