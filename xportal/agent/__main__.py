"""The command line of the agent."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Callable, Dict, List

from .config import Paths
from .leaving import leave
from .opening import make_ready, open_machine
from .process import AgentError
from .requests import Request, request_save
from .saving import run_save
from .watching import watch
from .whole import is_whole


def main(argv: List[str]) -> int:
    """Run one command. Returns its exit status."""
    os.chdir("/")
    args = parse(argv)
    paths = Paths()
    commands: Dict[str, Callable[[], object]] = {
        "open": lambda: open_machine(paths),
        "ready": lambda: make_ready(paths),
        "save": lambda: request_save(paths, args.id, Request(grace=round(args.grace))),
        "run-save": lambda: run_save(paths, args.id),
        "watch": lambda: watch(paths),
        "leave": lambda: leave(paths),
    }
    if is_whole():
        from .answering import more_commands

        commands.update(more_commands(paths, args))
    try:
        if args.command not in commands:
            raise AgentError("the whole agent is not here yet: xportal up brings it")
        return 1 if commands[args.command]() is False else 0
    except AgentError as failure:
        print(f"xportal: {failure}", file=sys.stderr)
        return 1


def parse(argv: List[str]) -> argparse.Namespace:
    """The arguments (see the package's docstring)."""
    parser = argparse.ArgumentParser(prog="agent")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("open", "ready", "status", "thaw", "thaw-all", "watch", "leave"):
        commands.add_parser(name)
    save = commands.add_parser("save")
    save.add_argument("id")
    save.add_argument("--kind", choices=["final"], default="final")
    save.add_argument("--grace", type=float, default=30)
    for name in ("run-save", "freeze", "run-freeze", "rehearse"):
        commands.add_parser(name).add_argument("id")
    commands.add_parser("settings").add_argument("json")
    log = commands.add_parser("follow")
    log.add_argument("id")
    log.add_argument("--from", dest="first", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
