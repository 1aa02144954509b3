"""The agent's sources made small: EC2 takes 16 KB of user data, and a machine reads them once, at each start.

Functions, classes and modules keep their names, so a machine's tracebacks tell where they come from.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

BUILTINS = frozenset(dir(builtins))


def shrink(sources: Mapping[str, str]) -> dict[str, str]:
    """Python modules by name without what only people and mypy read: comments, docstrings, annotations, wide indents,
    the names of parameters and local variables.

    The modules are one program: a parameter keeps its name if any of them passes an argument by that name.
    """
    trees = {name: WithoutNotes().visit(ast.parse(text)) for name, text in sources.items()}
    nodes = (node for tree in trees.values() for node in ast.walk(tree))
    by_keyword = {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    for tree in trees.values():
        fixed = BUILTINS | by_keyword | set(global_names(tree))
        for function in outer_functions(tree):
            rename_locals(function, fixed)
    return {name: narrow(ast.unparse(tree)) for name, tree in trees.items()}


def narrow(text: str) -> str:
    """A space for each level."""
    return re.sub("^(    )+", lambda found: " " * (len(found.group()) // 4), text, flags=re.MULTILINE)


class WithoutNotes(ast.NodeTransformer):
    """Takes docstrings and annotations out of a module's tree."""

    def visit(self, node: ast.AST) -> Any:
        """What is left of a node; None: nothing."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return None
        if isinstance(node, ast.ImportFrom) and node.module in ("typing", "__future__"):
            node.names = [alias for alias in node.names if alias.name == "TypeVar"]
            return node if node.names else None
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(0)  # what makes it a field of a data class
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        self.generic_visit(node)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            node.body = node.body or [ast.Pass()]
        return node


def global_names(tree: ast.Module) -> Iterator[str]:
    """The names that a module defines or imports."""
    for statement in tree.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            yield statement.name
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                yield node.id
            elif isinstance(node, ast.alias):
                yield node.asname or node.name


def outer_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """A module's functions and its classes' methods; those inside of functions are parts of them."""
    for statement in tree.body:
        parts = statement.body if isinstance(statement, ast.ClassDef) else [statement]
        yield from (part for part in parts if isinstance(part, ast.FunctionDef))


def rename_locals(function: ast.FunctionDef, fixed: frozenset[str]) -> None:
    """Give a function's parameters and variables, and those of functions inside of it, one letter each.

    One name has the same letter wherever it stands. `fixed` are the names that others use.
    """
    nodes = list(ast.walk(function))
    inner = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    inner |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    inner.update(*(node.names for node in nodes if isinstance(node, (ast.Global, ast.Nonlocal))))
    bound = dict.fromkeys(name for node in nodes if (name := bound_name(node)))
    names = [name for name in bound if name not in fixed | inner]
    taken = {node.id for node in nodes if isinstance(node, ast.Name)} | set(bound)
    letters = (letter for letter in short_names() if letter not in taken - set(names))
    short = dict(zip(names, letters))  # noqa: B905  (there are always more letters)
    for node in nodes:
        if isinstance(node, ast.Name):
            node.id = short.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = short.get(node.arg, node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            node.name = short.get(node.name, node.name)


def bound_name(node: ast.AST) -> str | None:
    """The name of the parameter or variable that a node makes."""
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    return node.name if isinstance(node, ast.ExceptHandler) else None


def short_names() -> Iterator[str]:
    """a, b, ... z, A, ... Z, aa, ab, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_letters, repeat=length))
