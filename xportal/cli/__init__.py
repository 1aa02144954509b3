"""The command line: parse, call one function, render."""

from xportal.cli.app import main

__all__ = ["main"]
