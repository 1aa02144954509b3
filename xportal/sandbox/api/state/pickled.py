"""The state as versions before this one kept it, a pickle: read once, then written as JSON (encoding.py).

It is not refused, for it holds people's drives. A pickle may name any function to call: here it finds only classes of
records, and the few others that such a state is made of. `getattr`, by which a pickle names a method, finds methods of
records alone. The file is read only after it was seen to belong to the daemon's user, with nobody else writing to it.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict, defaultdict
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from xportal.sandbox.api.state.classes import UnknownKindError, find_class, find_method

VERSION = 1
FIRST_BYTE = b"\x80"  # of a pickle; JSON is text

_OTHERS: dict[tuple[str, str], Any] = {
    ("builtins", "dict"): dict,  # what a defaultdict makes
    ("builtins", "list"): list,
    ("builtins", "set"): set,
    ("builtins", "getattr"): find_method,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("datetime", "datetime"): datetime,
    ("datetime", "timedelta"): timedelta,
    ("datetime", "timezone"): timezone,
    ("ipaddress", "IPv4Address"): IPv4Address,
    ("ipaddress", "IPv4Network"): IPv4Network,
    ("re", "_compile"): re.compile,
}


def loads(data: bytes) -> dict[str, Any]:
    """The state. UnknownKindError for what is no such pickle, or names anything else than records."""
    try:
        state = _Unpickler(io.BytesIO(data)).load()
        if state["version"] != VERSION:
            raise UnknownKindError(f"a state of version {state['version']}")
    except UnknownKindError:
        raise
    except Exception as error:  # a pickle can fail in any way
        raise UnknownKindError(f"not a state of an earlier version: {error!r}") from error
    return dict(state)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OTHERS:
            return _OTHERS[module, name]
        return find_class(module, name)
