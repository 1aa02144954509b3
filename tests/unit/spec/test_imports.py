"""A command that reads no spec imports nothing of what reads them, and so does not get slower by it.

Typer imports pydantic for its own use from 0.29 on, and user data need PyYAML: what counts are our modules, of which a
contract of the import linter says that they alone import pydantic.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from xportal.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
READING = {"xportal.spec.reading", "xportal.spec.schema", "xportal.spec.leaves", "xportal.spec.syntax"}
# What the commands import in any case: small modules of the standard library's alone.
SPEC = {"xportal.spec", "xportal.spec.model", "xportal.spec.finding", "xportal.spec.variables"}


def imported(*words: str, directory: Path) -> set[str]:
    """The modules that a command has imported at its end."""
    argv = [sys.executable, "-c", PROGRAM, *words]
    nothing = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    env = {**nothing, "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("up", "demo"), ("status",)])
def test_without_a_file(words: tuple[str, ...], tmp_path: Path) -> None:
    """Neither the parser nor the schema."""
    modules = imported(*words, directory=tmp_path)
    assert "xportal.cli.app" in modules
    assert not READING & modules
    assert {name for name in modules if name.startswith("xportal.spec")} <= SPEC


def test_with_a_file(tmp_path: Path) -> None:
    """The same words, in a directory that has one: so the test above sees what it looks for."""
    (tmp_path / "demo.yaml").write_text("name: demo\n")
    assert imported("up", "demo", directory=tmp_path) >= READING
