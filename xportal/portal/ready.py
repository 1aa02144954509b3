"""From a running machine to a portal that can be worked on: ssh, the drive open, the containers back."""

from __future__ import annotations

import time
from contextlib import closing

from xportal.aws import catalogue, compute, network, tags
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.drive.lifecycle import Story
from xportal.errors import MachineLost, Refused
from xportal.machine.access import caller_cidr
from xportal.portal.access import login_for
from xportal.portal.agent import AgentStatus, agent_status, boot_end
from xportal.portal.money import machine_cost
from xportal.remote import connect
from xportal.spec import PortalSpec

CONNECT_SECONDS = 300.0  # a GPU image's root disk loads lazily
POLL_SECONDS = 1.0


def wait_ready(aws: Aws, machine: Instance, story: Story) -> tuple[AgentStatus, dict[str, float]]:
    """Log in, and follow the agent until the drive is open and the containers are back; what took how long (s).

    Raises MachineLost, with the machine still running and billed.
    """
    began = time.monotonic()
    story.update(f"waiting for ssh on {machine.public_address}")
    try:
        with closing(connect(login_for(aws, machine), deadline=began + CONNECT_SECONDS)) as host:
            connected = time.monotonic()
            end = boot_end(host, story.say)
            status = agent_status(host)
        if not end["ok"]:
            raise MachineLost(f"{machine.id} could not open its drive: {end.get('error')}")
    except MachineLost as error:
        portal = machine.tags.get(tags.PORTAL, "")
        error.hint = error.hint or f"xportal ssh {portal} to look; xportal down {portal} saves and ends it"
        error.billed = (machine_cost(machine),)
        raise
    return status, {"ssh": connected - began, "ready": time.monotonic() - connected}


def adopt(aws: Aws, spec: PortalSpec, machine: Instance, story: Story) -> Instance:
    """A machine that is up already, once it runs, if it is what the spec asks for. Raises Refused, MachineLost."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while machine.state == "pending" and time.monotonic() < deadline:
        story.update(f"{machine.id} is {machine.state}")
        time.sleep(POLL_SECONDS)  # AWS can only be asked again
        machine = compute.find_instance(aws, machine.id) or machine
    _check_kind(aws, spec, machine)
    group = network.find_security_group(aws, machine.vpc_id or "")
    if group:  # the caller's address may have changed since the launch
        network.allow_ssh(aws, group, caller_cidr(aws.endpoint))
    return machine


def _check_kind(aws: Aws, spec: PortalSpec, machine: Instance) -> None:
    has_gpu = bool(catalogue.list_instance_types(aws, [machine.type])[0].gpus)
    wrong_kind = (spec.machine.wants_gpu() and not has_gpu) or (spec.machine.gpu is False and has_gpu)
    if wrong_kind or (spec.machine.types and machine.type not in spec.machine.types):
        raise Refused(
            f'portal "{spec.name}" is up on {machine.type}, {"with" if has_gpu else "without"} a GPU',
            hint=f"xportal down {spec.name} first: everything comes back on the other machine",
            billed=(machine_cost(machine),),
        )
