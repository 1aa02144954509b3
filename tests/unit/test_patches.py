"""Tests give the code what it needs; they do not change it from outside."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Each with what no seam is there for.
PATCHES = {
    "crash/histories/clock.py": "the sandbox's and AWS's SDK's time, for a virtual clock",
    "crash/histories/wire.py": "botocore, which reads once what is answered again",
    "crash/histories/world.py": "a catalogue that never changes is asked for once, and no user data are made",
    "crash/test_choices.py": "AWS's lists as they were, for one step of a command alone",
    "crash/test_doubt.py": "the pauses of botocore's own retries",
    "crash/test_json.py": "the same as test_hostile_words.py",
    "crash/test_hostile_words.py": "the whole program, with an account and a machine of the test's own",
    "unit/cli/test_exec_environment.py": "what lies between the command line and Docker's API",
}


def patches(source: str) -> bool:
    """Whether a module calls MonkeyPatch.setattr, or unittest.mock."""
    nodes = list(ast.walk(ast.parse(source)))
    called = {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return "setattr" in called or "unittest.mock" in imported


def test_tests_patch_no_attribute() -> None:
    """But where it is said why. Bugs are planted by patches."""
    found = {str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py") if patches(path.read_text())}
    assert {name for name in found if "/planted" not in name} == set(PATCHES)
