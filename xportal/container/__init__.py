"""Containers on a portal's machine, through its Docker's API."""

from xportal.container.build import build
from xportal.container.engine import Engine, get_container, local_docker
from xportal.container.execute import execute, get_running, interactive_argv
from xportal.container.listing import Container, list_containers, read_logs, remove, stop
from xportal.container.options import RunOptions, environment
from xportal.container.push import Progress, push
from xportal.container.run import Following, Started, create, find_early_end, run, run_attached
from xportal.container.streams import STDERR, STDOUT, Output, output_lines

__all__ = [
    "STDERR",
    "STDOUT",
    "Container",
    "Engine",
    "Following",
    "Output",
    "Progress",
    "RunOptions",
    "Started",
    "build",
    "create",
    "environment",
    "execute",
    "find_early_end",
    "get_container",
    "get_running",
    "interactive_argv",
    "list_containers",
    "local_docker",
    "output_lines",
    "push",
    "read_logs",
    "remove",
    "run",
    "run_attached",
    "stop",
]
