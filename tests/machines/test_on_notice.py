"""Nobody watching, on real machines: notices, shutdowns, idleness; and the rehearsal."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.machines.agent_lab import MAKE_IMAGE, AgentLab, Machine, result, sentences
from tests.machines.lab import Lab, wait_until
from tests.machines.test_on_machine import read_from_outside
from xportal.sandbox.hardware import Notice

pytestmark = pytest.mark.machine

# Appends a line and flushes it before it counts as written; ends by itself when asked to.
LEDGER = "sh -c 'n=0; while :; do n=$((n+1)); echo $n >> /v1/ledger; sync /v1/ledger; sleep 0.1; done'"
SAVED = "/.xportal/running.json"


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> AgentLab:
    """Machines with agents, and no API: there is no role, so the snapshot is the next `up`'s."""
    return AgentLab(lab)


def begin(cloud: AgentLab, volume: str) -> Machine:
    """A machine that is ready, with a new drive and the image `tiny`."""
    cloud.lab.hardware.create_volume(volume, 4, None)
    machine = cloud.boot(volume, blank=True)
    result(machine.follow("boot"))
    machine.run(MAKE_IMAGE)
    return machine


@pytest.fixture(scope="module")
def ready(cloud: AgentLab) -> Machine:
    """The machine of several tests, which the last of them ends."""
    return begin(cloud, "vol-0e4")


def change_settings(machine: Machine, **changes: object) -> None:
    """As `up` does."""
    machine.run(shlex.join(["sudo", "/opt/xportal/agent", "settings", json.dumps(changes)]))


def announce(machine: Machine, seconds: float) -> None:
    """AWS takes the machine back in so many seconds."""
    known = machine.lab.api.known
    when = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    known[machine.instance_id] = replace(known[machine.instance_id], notice=Notice("terminate", when))


def wait_saved(machine: Machine) -> None:
    """Until the drive is unmounted for good."""
    machine.run("for i in $(seq 200); do test -e /var/lib/xportal/saved.json && exit; sleep 0.1; done; exit 1")


def lines(machine: Machine) -> int:
    """How many lines the ledger has."""
    return int(machine.run("wc -l < /v1/ledger"))


def log_of_notice(machine: Machine) -> list[dict[str, Any]]:
    """What its save told so far."""
    lines = machine.run("cat /run/xportal/log/notice-*.jsonl").splitlines()
    return [json.loads(line) for line in lines]


def test_lives_that_nobody_ended(cloud: AgentLab) -> None:
    """A notice while a container writes; a shutdown from within: each time the next machine goes on from there."""
    cloud.lab.hardware.create_volume("vol-0e1", 4, None)
    first = cloud.boot("vol-0e1", blank=True)
    assert result(first.follow("boot"))["before"] == {}
    change_settings(first, on_notice="cp $XPORTAL_NOTICE /v1/told")
    first.run(MAKE_IMAGE)
    first.run(f"docker run -d --init --name train -v /v1:/v1 tiny {LEDGER}")
    first.run("until test -s /v1/ledger; do sleep 0.1; done")
    announce(first, 60)
    wait_saved(first)
    told = log_of_notice(first)
    assert "on_notice ended with status 0" in sentences(told)
    assert "no role" in first.run("sleep 2; cat /run/xportal/log/notice-*.jsonl")
    unmounted = next(line["t"] for line in told if line["step"] == "unmount")
    assert unmounted < 20
    first.off()
    assert "train" in read_from_outside(cloud, "vol-0e1", "cat /docker/image/overlay2/repositories.json")
    assert json.loads(read_from_outside(cloud, "vol-0e1", "cat /told"))["action"] == "terminate"

    second = cloud.boot("vol-0e1", generation=2)
    boot = second.follow("boot")
    assert result(boot)["before"]["notice"]["action"] == "terminate"
    assert "AWS took the machine before this one at 20" in sentences(boot)
    assert second.run("docker inspect -f '{{.State.Running}}' train") == "true"
    second.fails("ls /v1/xportal-notice.json")
    before = lines(second)
    second.run("sudo systemctl --no-block poweroff || true")
    wait_until(lambda: second.instance_id in cloud.lab.api.ended, 60)

    third = cloud.boot("vol-0e1", generation=3)
    assert result(third.follow("boot"))["before"]["save"] == "shutdown"
    assert third.run("docker inspect -f '{{.State.Running}}' train") == "true"
    assert lines(third) >= before
    third.off()


def test_a_notice_at_the_worst_moment(cloud: AgentLab) -> None:
    """Seconds after boot, with the core alone, while somebody works in the home; then once more, with `down` beside it:
    one save, and it goes through."""
    cloud.lab.hardware.create_volume("vol-0e2", 4, None)
    machine = cloud.boot("vol-0e2", blank=True)
    machine.run("nohup sudo sleep 300 > held 2>&1 &")
    announce(machine, 90)
    wait_saved(machine)
    machine.deliver()
    announce(machine, 80)
    assert result(machine.save("save-1"))["already"]
    machine.off()


@pytest.mark.all
def test_a_notice_during_a_save_waits_for_it(cloud: AgentLab) -> None:
    """`down` has asked for one already, and its containers take their time: the notice's finds it done."""
    machine = begin(cloud, "vol-0e3")
    machine.run("docker run -d --name deaf tiny sh -c 'while :; do sleep 1; done'")  # PID 1 ignores SIGTERM
    machine.run("cd / && sudo /opt/xportal/agent save save-1 --grace 8")
    machine.run("until grep -q Asking /run/xportal/log/save-1.jsonl; do sleep 0.05; done")
    announce(machine, 60)
    assert not result(machine.follow("save-1"))["already"]
    machine.run("until grep -qs already /run/xportal/log/notice-*.jsonl; do sleep 0.1; done")
    assert result(log_of_notice(machine))["already"]
    assert machine.status()["phase"] == "saved"
    machine.off()


def test_the_watcher_costs_next_to_nothing(ready: Machine) -> None:
    """Under 30 MB, under half a per cent of a core."""
    measure = "p=$(systemctl show -p MainPID --value xportal-watch); awk '{print $14+$15}' /proc/$p/stat"
    resident = "awk '/VmHWM/ {print $2}' /proc/$(systemctl show -p MainPID --value xportal-watch)/status"
    ready.run("sleep 2")
    began, ticks = time.monotonic(), int(ready.run(measure))
    assert int(ready.run(resident)) < 30 * 1024
    ready.run("sleep 10")
    spent = (int(ready.run(measure)) - ticks) / 100
    assert spent / (time.monotonic() - began) < 0.005
    # As Docker's scopes are made on control groups v2, where this keeps the role's credentials from containers.
    show = "systemctl show -p IPAddressDeny docker-abc.scope"
    assert "169.254.169.254" in ready.run(f"sudo systemd-run -q --scope --unit docker-abc.scope {show}")


def test_a_rehearsal_brings_everything_back(ready: Machine) -> None:
    """Timed step by step; the container runs again, the restart policy is its own, a shell in the drive was ended."""
    ready.fails("sudo /opt/xportal/agent rehearse boot")
    ready.run(f"docker run -d --init --restart unless-stopped --name train -v /v1:/v1 tiny {LEDGER}")
    ready.run("until test -s /v1/ledger; do sleep 0.1; done")
    ready.run("cd / && sudo /opt/xportal/agent rehearse rehearsal-1")
    log = ready.follow("rehearsal-1")
    told = result(log)
    assert 0 < told["took"] < 60
    assert {"stop", "commit", "docker", "sync", "unmount", "mount", "containers"} <= set(told["seconds"])
    assert ready.status()["phase"] == "ready"
    before = lines(ready)
    policy = "docker inspect -f '{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}' train"
    assert ready.run(policy) == "true unless-stopped"
    wait_until(lambda: lines(ready) > before)
    ready.run("touch ~/mine; test ! -e /v1/xportal-notice.json")


@pytest.mark.all
def test_a_machine_that_nobody_uses_saves_and_ends_itself(cloud: AgentLab) -> None:
    """While somebody is logged in or a container works it stays; then it goes, and the drive is saved.

    A GPU's driver that does not answer any more hinders nothing, once its answer is a minute late.
    """
    machine = begin(cloud, "vol-0e6")
    hangs = "printf '#!/bin/sh\\nexec sleep 1000\\n' | sudo tee /usr/bin/nvidia-smi; sudo chmod 755 /usr/bin/nvidia-smi"
    machine.run(hangs)
    change_settings(machine, idle_minutes=0.1)
    machine.run("sleep 9")  # a login
    busy = "i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done"
    machine.run(f"docker run -d --init --name train tiny sh -c '{busy}'")
    began = time.monotonic()
    wait_until(lambda: machine.instance_id in cloud.lab.api.ended, 150)
    assert time.monotonic() - began > 6
    assert json.loads(read_from_outside(cloud, "vol-0e6", f"cat {SAVED}"))["save"] == "idle"


def wrap_docker(machine: Machine, script: str) -> None:
    """Have a script run before each of Docker's commands on the machine, with its words."""
    text = f'#!/bin/sh\n{script}\nexec /usr/bin/docker.real "$@"\n'
    put = f"printf %s {shlex.quote(text)} | sudo tee /usr/bin/docker > /dev/null; sudo chmod 755 /usr/bin/docker"
    machine.run(f"sudo mv /usr/bin/docker /usr/bin/docker.real; {put}")


def test_a_notice_while_another_save_has_all_the_time(ready: Machine) -> None:
    """A commit of `down`'s that would take minutes is left off, and what is left of the time is the notice's."""
    ready.run(
        "docker rm -f train 2> /dev/null; docker run -d --init --name late tiny sh -c 'echo x > /x; exec sleep 999'"
    )
    wrap_docker(ready, '[ "$1" != diff ] || exec sleep 300')  # what a commit begins with
    ready.run("cd / && sudo /opt/xportal/agent save save-1 --grace 1")
    ready.run("until grep -q Committing /run/xportal/log/save-1.jsonl; do sleep 0.05; done")
    ready.run("sudo systemctl kill -s KILL xportal-watch")
    announce(ready, 40)
    wait_saved(ready)
    done = result(ready.follow("save-1"))
    assert done["faults"] == []
    assert [left["container"] for left in done["deferred"]] == ["late"]
    ready.fails("cd / && sudo /opt/xportal/agent rehearse rehearsal-2")
    ready.off()


@pytest.mark.all
def test_a_rehearsal_that_is_killed(cloud: AgentLab) -> None:
    """Everything comes back all the same."""
    machine = begin(cloud, "vol-0ea")
    machine.run("docker run -d --init --name train tiny sh -c 'while :; do sleep 1; done'")
    machine.run("cd / && sudo /opt/xportal/agent rehearse rehearsal-1")
    machine.run("cd /; while mountpoint -q /v1; do :; done; sudo pkill -9 -f [r]un-save")
    machine.run("until mountpoint -q /v1 && docker ps | grep train; do sleep 0.1; done")
    wait_until(lambda: machine.status()["phase"] == "ready")
    machine.run("cd / && sudo /opt/xportal/agent rehearse rehearsal-2")
    assert result(machine.follow("rehearsal-2"))["faults"] == []
    machine.off()


@pytest.mark.all
def test_a_boot_that_failed_goes_on(cloud: AgentLab) -> None:
    """Docker did not start, and does the next time; a container that takes long to start holds up no other."""
    machine = begin(cloud, "vol-0e8")
    machine.run(
        "for name in one two; do docker run -d --init --name $name tiny sh -c 'while :; do sleep 1; done'; done"
    )
    broken = "/run/systemd/system/docker.service.d/broken.conf"
    machine.run(f"sudo mkdir -p $(dirname {broken}); printf '[Service]\nExecStartPre=/bin/false\n' | sudo tee {broken}")
    machine.run("cd / && sudo systemctl daemon-reload && sudo /opt/xportal/agent rehearse rehearsal-1")
    assert not machine.follow("rehearsal-1")[-1]["ok"]
    assert machine.status()["phase"] == "failed"
    one = machine.run("sudo ls /xportal/v1/docker/containers | head -n 1").strip()
    wrap_docker(machine, f'[ "$1 $2" != "start {one}" ] || sleep 35')
    machine.run(f"sudo rm {broken}; sudo systemctl daemon-reload; cd / && sudo /opt/xportal/agent ready")
    assert machine.status()["phase"] == "ready"
    assert sorted(machine.run("docker ps --format '{{.Names}}'").split()) == ["one", "two"]
    machine.off()
