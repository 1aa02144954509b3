"""AWS's own rules as data. `python -m tests.contract.aws_data` writes the JSON files anew, and says where from."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def load(name: str) -> Any:
    """What a file of this directory says."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())
