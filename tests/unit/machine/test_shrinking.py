"""The agent made small: the same program, without what only people and mypy read."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from xportal.machine import userdata
from xportal.machine.shrinking import shrink

SOURCES = {name: text for name, text in userdata.list_sources() if userdata.is_core(name)}


@pytest.mark.parametrize("name", SOURCES)
def test_it_is_the_same_program(name: str) -> None:
    """Statement by statement, and no comments."""
    shrunk = shrink(SOURCES[name])
    assert "#" not in [line.strip()[:1] for line in shrunk.splitlines()]
    assert statements(shrunk) == statements(SOURCES[name])


def statements(source: str) -> list[str]:
    """Every statement by its kind, but docstrings and imports of what annotations need."""
    found = []
    for node in ast.walk(ast.parse(source)):
        typing = isinstance(node, ast.ImportFrom) and node.module in ("typing", "__future__")
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not (typing or docstring or isinstance(node, ast.Pass)):
            found.append(type(node).__name__)
    return found


def test_what_only_looks_like_annotations_and_comments_stays() -> None:
    """Hashes in strings, fields of data classes, bodies that are nothing but a docstring."""
    source = (
        "from dataclasses import dataclass\n"
        'X = "# no comment"  # one\n\n\n'
        'def f(a: int = 1, *, b: "str") -> None:\n    """Doc."""\n\n\n'
        'class E(Exception):\n    """Doc."""\n\n\n'
        "@dataclass\nclass D:\n    a: int\n    b: str = 'b'\n"
    )
    spaces: dict[str, Any] = {"__name__": __name__}
    text = shrink(source)
    exec(compile(text, "f", "exec"), spaces)
    assert spaces["X"] == "# no comment"
    assert (spaces["D"](1).a, spaces["D"](1).b) == (1, "b")
    for word in ("Doc", "int", "one"):
        assert word not in text
