"""`exec -e NAME` takes this computer's value, as `run` does and as Docker has it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import xportal.container
from xportal.cli import containers
from xportal.cli.options import Context


def test_a_name_alone_has_the_value_that_it_has_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not set here is left out: Docker would unset it in the container."""
    asked: list[Any] = []

    @contextmanager
    def opened(*given: Any) -> Any:
        yield SimpleNamespace(), SimpleNamespace()

    def execute(*given: Any, **more: Any) -> int:
        asked.append(more["env"])
        return 7

    monkeypatch.setattr(containers, "_opened", opened)
    monkeypatch.setattr(xportal.container, "execute", execute)
    monkeypatch.setenv("HERE", "a b")
    monkeypatch.delenv("NOT_HERE", raising=False)
    context = Context()
    monkeypatch.setattr(Context, "aws", None)
    with pytest.raises(typer.Exit) as ended:
        containers.exec_(context, "demo", "train", ["true"], env=["HERE", "NOT_HERE", "GIVEN=x=y"])
    assert ended.value.exit_code == 7
    assert asked == [["HERE=a b", "GIVEN=x=y"]]
