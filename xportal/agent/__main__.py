"""The command line of the agent."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Callable, Dict, List

from . import units
from .config import Paths
from .events import follow
from .freezing import request_freeze, run_freeze, thaw, thaw_by_force
from .opening import make_ready, open_machine
from .process import AgentError
from .saving import request_save, run_save
from .state import log_path
from .status import read_status


def main(argv: List[str]) -> int:
    """Run one command. Returns its exit status."""
    os.chdir("/")
    args = parse(argv)
    paths = Paths()
    commands: Dict[str, Callable[[], object]] = {
        "open": lambda: open_machine(paths),
        "ready": lambda: make_ready(paths),
        "save": lambda: request_save(paths, args.id, round(args.grace)),
        "run-save": lambda: run_save(paths, args.id),
        "freeze": lambda: request_freeze(paths, args.id),
        "run-freeze": lambda: run_freeze(paths, args.id),
        "thaw": lambda: thaw(paths),
        "thaw-all": lambda: thaw_by_force(paths),
        "follow": lambda: print_log(paths, args.id, args.first),
        "status": lambda: print(json.dumps(read_status(paths))),
    }
    try:
        return 1 if commands[args.command]() is False else 0
    except AgentError as failure:
        print(f"xportal: {failure}", file=sys.stderr)
        return 1


def parse(argv: List[str]) -> argparse.Namespace:
    """The arguments (see the package's docstring)."""
    parser = argparse.ArgumentParser(prog="agent")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("open", "ready", "status", "thaw", "thaw-all"):
        commands.add_parser(name)
    save = commands.add_parser("save")
    save.add_argument("id")
    save.add_argument("--kind", choices=["final"], default="final")
    save.add_argument("--grace", type=float, default=30)
    for name in ("run-save", "freeze", "run-freeze"):
        commands.add_parser(name).add_argument("id")
    log = commands.add_parser("follow")
    log.add_argument("id")
    log.add_argument("--from", dest="first", type=int, default=0)
    return parser.parse_args(argv)


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
    boot = ["cloud-init.service", units.READY]
    return any(map(units.is_pending, boot if name == "boot" else [units.save_unit(name), units.freeze_unit(name)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
