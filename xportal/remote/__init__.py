"""Machines over SSH: `connect` gives a Host, `ssh_argv` the command line for a person's own terminal."""

from xportal.remote.connecting import connect
from xportal.remote.fabric_host import FabricHost
from xportal.remote.host import Completed, Host, Login
from xportal.remote.known_hosts import known_hosts_file, known_hosts_line, ssh_argv, ssh_options

__all__ = [
    "Completed",
    "FabricHost",
    "Host",
    "Login",
    "connect",
    "known_hosts_file",
    "known_hosts_line",
    "ssh_argv",
    "ssh_options",
]
