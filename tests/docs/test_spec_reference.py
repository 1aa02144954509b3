"""docs/spec.md is what the schema is, and every option of `up` and `watch` is a key of it."""

from __future__ import annotations

from typing import Any

import typer

from tests.docs.fastai import REPOSITORY
from tests.docs.spec_reference import NO_KEY, options_of_keys, page
from xportal.cli.app import app
from xportal.spec.schema import SECTIONS


def options_of(command: str) -> set[str]:
    """The options of a command, as they are typed; of a flag that can be switched off the one word."""
    group: Any = typer.main.get_command(app)
    params = group.commands[command].params
    return {word for param in params if param.param_type_name == "option" for word in param.opts if word[:2] == "--"}


def test_the_page_is_what_the_schema_is() -> None:
    """docs/spec.md is made of its classes and of the example."""
    written = (REPOSITORY / "docs" / "spec.md").read_text()
    assert written == page(), "python -m tests.docs.spec_reference > docs/spec.md"


def test_every_key_is_on_the_page() -> None:
    """In a row of its section's table, with a sentence of what it means."""
    for section in SECTIONS.values():
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert f"\n| `{name}` | " in page()
            assert field.description
            assert field.description.rstrip("`)").endswith("."), name


def test_every_option_of_up_and_watch_is_a_key() -> None:
    """Or it says nothing of the portal; and a key names no option that there is not."""
    typed = options_of("up") | options_of("watch")
    assert typed - set(NO_KEY) == options_of_keys() - {"--spot"}
    assert set(NO_KEY) <= typed | {"--help"}
