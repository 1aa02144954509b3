"""What a commit is checked by."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.docs.fastai import REPOSITORY

CONFIG = REPOSITORY / ".pre-commit-config.yaml"


def test_the_hooks_run_what_make_lint_runs() -> None:
    """The same programs of .venv with the same arguments, in the same order, over the whole tree."""
    [rule] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    lines = [line.strip().replace("$(BIN)", ".venv/bin") for line in rule.splitlines()]
    [local] = yaml.safe_load(CONFIG.read_text())["repos"]
    assert (local["repo"], {hook["language"] for hook in local["hooks"]}) == ("local", {"system"})
    assert [hook["entry"] for hook in local["hooks"]] == lines
    assert not any(hook["pass_filenames"] for hook in local["hooks"])


def test_pre_commit_takes_the_file() -> None:
    """By its own rules for it."""
    program = Path(sys.executable).with_name("pre-commit")
    done = subprocess.run([program, "validate-config", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
