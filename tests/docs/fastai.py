"""The fastai image's recipe, and how to read the log of its training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = REPOSITORY / "dockerfiles" / "fastai"
IMAGE = "xportal-fastai"


def build_image() -> str:
    """Build the image as a person would, with this Python's pip first in the PATH; return its name."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    argv = [str(RECIPE / "build-cpu"), IMAGE]
    done = subprocess.run(argv, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return IMAGE


def epochs_of(log: str) -> list[int]:
    """The epochs that a training's log reports as done, in their order."""
    return [int(number) for number in re.findall(r"^epoch (\d+)/\d+ on ", log, flags=re.MULTILINE)]
