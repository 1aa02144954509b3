"""Which classes a state may name: those of records, by their module's name now or by an earlier one."""

from __future__ import annotations

import importlib
from functools import cache
from types import FunctionType, MethodType
from typing import Any

_RECORDS = ("moto.core.", "moto.ec2.", "moto.iam.", "moto.sts.", "moto.utilities.", "xportal.sandbox.api.",
            "xportal.sandbox.hardware.")  # fmt: skip
# A state names each class by the module that defined it when the state was written. Whoever moves or renames a class
# of records adds its earlier name here: without it, nobody's sandbox of an earlier version starts again.
_MOVED = {
    f"xportal.sandbox.api.{earlier}": tuple(f"xportal.sandbox.api.{now}".split(":"))
    for earlier, now in {
        # Once all of the API's modules lay in one directory.
        "backend:Ec2Backend": "ec2.backend:Ec2Backend",
        "backend:TokenUse": "ec2.records.token_use:TokenUse",
        "catalogue:TypeInfo": "ec2.catalogue:TypeInfo",
        "images:Image": "ec2.records.image:Image",
        "instances:Instance": "ec2.records.instance:Instance",
        "snapshots:Snapshot": "ec2.records.snapshot:Snapshot",
        "spot:SpotRequest": "ec2.records.spot_request:SpotRequest",
        "volumes:Attachment": "ec2.records.volume:Attachment",
        "volumes:Volume": "ec2.records.volume:Volume",
    }.items()
}


class UnknownKindError(ValueError):
    """There is no JSON for this kind of value, or the JSON is not of a record."""


def find_class(module: str, name: str) -> type:
    """A class of records by its name, or by an earlier one.

    UnknownKindError for any other, and for what a module only imports.
    """
    module, name = _MOVED.get(f"{module}:{name}", (module, name))
    if f"{module}.".startswith(_RECORDS):
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = vars(found)[part]
        except (ImportError, LookupError, TypeError) as error:  # of a version that had it, or nobody's
            raise UnknownKindError(f"there is no {module}:{name}") from error
        if isinstance(found, type) and found.__module__ == module:
            return found
    raise UnknownKindError(f"{module}:{name} is no class of records")


def find_method(record: Any, name: str) -> MethodType:
    """A record's own method. UnknownKindError for another attribute, or that of something else."""
    cls: Any = type(record)
    return MethodType(_find_function(cls, name), record)


@cache
def _find_function(cls: Any, name: str) -> FunctionType:
    find_class(cls.__module__, cls.__qualname__)
    function = next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)
    if not isinstance(function, FunctionType):
        raise UnknownKindError(f"{cls.__qualname__} has no method {name}")
    return function
