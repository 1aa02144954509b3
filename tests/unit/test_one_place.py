"""Where copies of a drive are made, changed and deleted: in one package, which a reviewer can read whole."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import xportal

PACKAGE = Path(xportal.__file__).parent
# Calls of xportal.aws that make, attach, demote or delete a copy of a drive, or the machine that it is on.
CHANGES = {
    "attach_volume",
    "create_snapshot",
    "create_snapshots",
    "delete_snapshot",
    "delete_volume",
    "terminate_instance",
}


def changes_in(source: str) -> Iterator[str]:
    """The names of those that a module calls, or takes from elsewhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in CHANGES:
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name in CHANGES)


# Words by which a module of the drive's package or of the agent is known to delete, format, end or demote.
DANGEROUS = re.compile(
    r"storage\.delete_|compute\.terminate_|tags\.WITHDRAWN\)|tags\.RESTORED:"
    r"|\"mkfs|rmtree\(|\"rmi\"|os\.kill\(|remove_container\(|\"rm\", \"-rf\""
)


def test_every_place_that_could_lose_data_is_on_its_page() -> None:
    """docs/architecture.md names the module."""
    page = (PACKAGE.parent / "docs/architecture.md").read_text().partition("## Where data could be lost")[2]
    modules = [path for room in ("drive", "agent") for path in (PACKAGE / room).rglob("*.py")]
    found = {str(path.relative_to(PACKAGE.parent)) for path in modules if DANGEROUS.search(path.read_text())}
    assert {"xportal/drive/act.py", "xportal/agent/core/disk.py", "xportal/agent/full/orphan_layers.py"} <= found
    assert {path for path in found if f"`{path}`" not in page} == set()


def test_nothing_but_the_drive_package_changes_copies_of_a_drive() -> None:
    """The agent has the machine's own role, and the sandbox is AWS: neither imports what is meant here."""
    apart = ("agent", "aws", "drive", "sandbox")
    modules = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in apart]
    found = {str(path.relative_to(PACKAGE)): list(changes_in(path.read_text())) for path in modules}
    assert len(found) > 30
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    ["storage.delete_volume(aws, volume.id)", "from xportal.aws.storage import delete_volume", "f = s.delete_volume"],
)
def test_a_change_is_noticed(line: str) -> None:
    """However it is written."""
    assert list(changes_in(line))
