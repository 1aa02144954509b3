"""docs/permissions.md shows the policies that ship."""

from __future__ import annotations

from pathlib import Path

from tests.docs.permissions import page


def test_the_page_has_the_policies_that_ship() -> None:
    """Whole."""
    assert (Path(__file__).parents[2] / "docs" / "permissions.md").read_text() == page()
