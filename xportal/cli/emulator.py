"""The sandbox's control, where the sandbox is installed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from xportal.errors import NotInstalled


def get_control() -> ModuleType:
    """The module `xportal.sandbox.control`. Raises NotInstalled."""
    try:
        return import_module("xportal.sandbox.control")
    except ImportError as error:
        raise NotInstalled(
            f"the sandbox's emulator is not installed ({error.name})", hint="pip install 'xportal[sandbox]'"
        ) from error
