"""The agent's sources made small: EC2 takes 16 KB of user data, and a machine reads them once, at each start.

Everything keeps its name, so a machine's tracebacks can be read.
"""

from __future__ import annotations

import ast
import re
from typing import Any


def shrink(source: str) -> str:
    """Python source without what only people and mypy read: comments, docstrings, annotations, wide indents."""
    return narrow(ast.unparse(WithoutNotes().visit(ast.parse(source))))


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
