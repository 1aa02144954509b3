"""The command line of the agent."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import List

from . import units
from .config import Paths
from .events import follow
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
    try:
        if args.command == "open":
            return 0 if open_machine(paths) else 1
        if args.command == "ready":
            return 0 if make_ready(paths) else 1
        if args.command == "save":
            request_save(paths, args.id, round(args.grace))
        elif args.command == "run-save":
            return 0 if run_save(paths, args.id) else 1
        elif args.command == "follow":
            return print_log(paths, args.id, args.first)
        else:
            print(json.dumps(read_status(paths)))
    except AgentError as failure:
        print(f"xportal: {failure}", file=sys.stderr)
        return 1
    return 0


def parse(argv: List[str]) -> argparse.Namespace:
    """The arguments (see the package's docstring)."""
    parser = argparse.ArgumentParser(prog="agent")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("open", "ready", "status"):
        commands.add_parser(name)
    save = commands.add_parser("save")
    save.add_argument("id")
    save.add_argument("--kind", choices=["final"], default="final")
    save.add_argument("--grace", type=float, default=30)
    commands.add_parser("run-save").add_argument("id")
    log = commands.add_parser("follow")
    log.add_argument("id")
    log.add_argument("--from", dest="first", type=int, default=0)
    return parser.parse_args(argv)


def print_log(paths: Paths, name: str, first: int) -> int:
    """Print a log as it grows. 1 if it stops without its end line."""
    line = ""
    for line in follow(log_path(paths, name), lambda: is_written(name), first):
        print(line, flush=True)
    if json.loads(line or "{}").get("end"):
        return 0
    print(f"xportal: nobody writes the log {name} any more, and it has no end", file=sys.stderr)
    return 1


def is_written(name: str) -> bool:
    """Whether somebody will go on with the log."""
    boot = ["cloud-init.service", units.READY]
    return any(units.is_pending(unit) for unit in (boot if name == "boot" else [units.save_unit(name)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
