"""The commands of the whole agent: what only somebody who is logged in asks for."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Callable, Dict

from .config import Paths
from .following import print_log
from .freezing import request_freeze, run_freeze, thaw, thaw_by_force
from .rehearsal import request_rehearsal
from .reopening import go_on
from .settings import change_settings
from .status import read_status


def more_commands(paths: Paths, args: Namespace) -> Dict[str, Callable[[], object]]:
    """By name; one that returns False has failed."""
    return {
        "ready": lambda: go_on(paths),
        "freeze": lambda: request_freeze(paths, args.id),
        "run-freeze": lambda: run_freeze(paths, args.id),
        "thaw": lambda: thaw(paths),
        "thaw-all": lambda: thaw_by_force(paths),
        "settings": lambda: change_settings(paths, json.loads(args.json)),
        "rehearse": lambda: request_rehearsal(paths, args.id),
        "follow": lambda: print_log(paths, args.id, args.first),
        "status": lambda: print(json.dumps(read_status(paths))),
    }
