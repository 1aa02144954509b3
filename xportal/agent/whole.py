"""Whether this is the whole agent, or the core that a launch's user data brings (see `xportal.machine.userdata`)."""

from __future__ import annotations

from importlib.util import find_spec


def is_whole() -> bool:
    """Whether the modules are here that are not in the core: import those only if they are."""
    return find_spec(f"{__package__}.finishing") is not None
