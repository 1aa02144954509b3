"""Containers on a portal's machine, through its Docker's API."""

from xportal.container.build import build
from xportal.container.engine import Engine, get_container, local_docker
from xportal.container.execute import execute, get_running, interactive_argv
from xportal.container.images import list_images, pull_image
from xportal.container.listing import Container, list_containers, read_logs, remove, restart, start_again, stop
from xportal.container.options import RunOptions, env_file, environment, since_when
from xportal.container.push import Progress, push
from xportal.container.run import Following, Started, create, ensure_image, find_early_end, run, run_attached, start
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
    "ensure_image",
    "env_file",
    "environment",
    "execute",
    "find_early_end",
    "get_container",
    "get_running",
    "interactive_argv",
    "list_containers",
    "list_images",
    "local_docker",
    "output_lines",
    "pull_image",
    "push",
    "read_logs",
    "remove",
    "restart",
    "run",
    "run_attached",
    "since_when",
    "start",
    "start_again",
    "stop",
]
