"""The agent made small: the same program, with shorter names of its own."""

from __future__ import annotations

import ast
import dis
import types
from typing import Any

import pytest

from xportal.machine import userdata
from xportal.machine.shrinking import WithoutNotes, shrink

SOURCES = {name: text for name, text in userdata.list_sources() if userdata.is_core(name)}
LOCAL = {*dis.haslocal, *dis.hasfree}


@pytest.fixture(scope="module")
def shrunk() -> dict[str, str]:
    """The core as machines get it."""
    return shrink(SOURCES)


def assert_same_code(one: types.CodeType, other: types.CodeType) -> None:
    """The same instructions on the same names, but for local ones, which have others, each always the same.

    What makes a closure goes through its variables in the order of their names, which is another one.
    """
    names: dict[str, str] = {}
    shared = {*one.co_cellvars, *one.co_freevars}
    for left, right in zip(dis.get_instructions(one), dis.get_instructions(other), strict=True):
        assert left.opcode == right.opcode
        if isinstance(left.argval, types.CodeType):
            assert_same_code(left.argval, right.argval)
        elif left.opcode in LOCAL:
            for mine, its in zip(words(left.argval), words(right.argval), strict=True):
                if mine not in shared or "DEREF" in left.opname:
                    assert names.setdefault(mine, its) == its
        else:
            assert left.argval == right.argval
    assert len(set(names.values())) == len(names)


def words(names: object) -> tuple[str, ...]:
    """Some instructions of newer Pythons have two names."""
    return names if isinstance(names, tuple) else (str(names),)


@pytest.mark.parametrize("name", SOURCES)
def test_it_is_the_same_program(shrunk: dict[str, str], name: str) -> None:
    """Instruction by instruction, docstrings and annotations left out."""
    plain = ast.unparse(WithoutNotes().visit(ast.parse(SOURCES[name])))
    assert_same_code(compile(plain, name, "exec"), compile(shrunk[name], name, "exec"))


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_in_it_that_only_people_read(shrunk: dict[str, str], name: str) -> None:
    """No comments; functions and classes keep their names, for a machine's tracebacks."""
    assert "#" not in [line.strip()[:1] for line in shrunk[name].splitlines()]
    assert definitions(shrunk[name]) == definitions(SOURCES[name])


def definitions(source: str) -> list[str]:
    """The names of functions and classes."""
    return [n.name for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]


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
    text = shrink({"m": source})["m"]
    exec(compile(text, "f", "exec"), spaces)
    assert spaces["X"] == "# no comment"
    assert (spaces["D"](1).a, spaces["D"](1).b) == (1, "b")
    for word in ("Doc", "int", "one"):
        assert word not in text


def test_names_that_others_use_stay() -> None:
    """Arguments that some module passes by name, globals, builtins, what functions import or define, attributes."""
    source = (
        "import json\n\n\nCOUNT = 0\n\n\n"
        "def outer(value, given, plain, *rest, **more):\n"
        "    from os import path\n    global COUNT\n    COUNT = COUNT + 1\n    total = 0\n\n"
        "    def inner(number):\n        nonlocal total\n        total += number\n        return total\n\n"
        "    len = 3\n"
        "    try:\n        inner(value)\n    except ValueError as error:\n        return error\n"
        "    return [json.dumps(item) for item in (total, given, plain, len, rest, sorted(more), path.sep)]\n"
    )
    other = "from m import outer\n\n\ndef call():\n    return outer(1, given=2, plain=3)\n"
    text = shrink({"m": source, "n": other})["m"]
    spaces: dict[str, Any] = {}
    exec(compile(text, "m", "exec"), spaces)
    assert spaces["outer"](1, 2, 3, 4, given2=5) == ["1", "2", "3", "3", "[4]", '["given2"]', '"/"']
    assert spaces["COUNT"] == 1
    assert "given" in text
    assert "plain" in text
    assert "value" not in text
    assert "number" not in text
