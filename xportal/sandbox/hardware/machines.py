"""The sandbox's real hardware: machines are containers with systemd, drives are block devices."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from xportal.errors import HardwareFailure
from xportal.sandbox.hardware import Addresses, Api, Boot, Disk, cgroups, loops, machine_faults, power
from xportal.sandbox.hardware.addresses import free_address
from xportal.sandbox.hardware.container import Chassis, Host
from xportal.sandbox.hardware.disks import Disks
from xportal.sandbox.hardware.docker import Engine, Found
from xportal.sandbox.hardware.powered import PoweredMachine, read_record

log = logging.getLogger(__name__)

_SHUTDOWN_SIGNAL = "SIGRTMIN+3"
_SIGNAL_AGAIN_S = 3.0  # a machine in its first moments does not hear it
_RELEASE_DEADLINE_S = 90.0
_ORPHAN_AFTER_S = 2.0
_START_ATTEMPTS = 5
_CONSOLE_BYTES = 64 * 1024  # as much as EC2 keeps
_CONSOLES_KEPT = 50
_LOGIN_KEY_S = 60


class RealHardware:
    """`Hardware` in `home`, by Docker and the kernel. Needs root."""

    def __init__(self, home: Path, image: str, engine: Engine) -> None:
        self.disks = Disks(home)
        self._home = home
        self._image = image
        self._engine = engine
        self._host = Host.observe()
        self._machines: dict[str, PoweredMachine] = {}
        self._reserved: set[str] = set()
        self._lock = threading.Lock()
        self._api: Api | None = None

    # life of the hardware itself

    def connect(self, api: Api) -> None:
        """Open the store; take up the machines that still run, clear away the others."""
        self._api = api
        self.disks.open()
        self._records.mkdir(exist_ok=True)
        for found in self._engine.machines(str(self._home)):
            self._adopt(found)
        in_use = {self.disks.volume_path(id_) for machine in self._machines.values() for id_ in machine.drives}
        in_use |= {store for id_ in self._machines for store in self.disks.list_instance_stores(id_)}
        for file, device in loops.attached_below(self.disks.store).items():
            if file not in in_use:
                loops.detach(device)

    def shut_down_all(self, deadline_s: float) -> list[str]:
        """Shut every machine down at the same time; their ids. One that fails does not keep the others."""
        running = sorted(self.running())
        with ThreadPoolExecutor(max_workers=max(1, len(running))) as pool:
            works = {pool.submit(self.shut_down, instance_id, deadline_s): instance_id for instance_id in running}
        for work, instance_id in works.items():
            problem = work.exception()
            if problem:
                log.error("shutting %s down failed: %s", instance_id, problem)
        return running

    def close(self, deadline_s: float) -> None:
        """Shut every machine down, also those of a daemon that died; unmount the store. Idempotent."""
        for found in self._engine.machines(str(self._home)):
            if found.instance_id not in self.running():
                self._adopt(found)
        self.shut_down_all(deadline_s)
        for device in loops.attached_below(self.disks.store).values():
            self._unhook(device)
        self.disks.close()

    def running(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._machines)

    # disks

    def create_volume(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        self.disks.create_volume(volume_id, size_gib, snapshot_id)

    def resize_volume(self, volume_id: str, size_gib: int) -> None:
        self.disks.resize_volume(volume_id, size_gib)

    def delete_volume(self, volume_id: str) -> None:
        self.disks.delete_volume(volume_id)

    def create_snapshot(self, snapshot_id: str, volume_id: str) -> int:
        return self.disks.create_snapshot(snapshot_id, volume_id)

    def create_snapshots(self, instance_id: str, volumes: Mapping[str, str]) -> dict[str, int]:
        machine = self._find(instance_id)
        # One moment for all: nobody may write to the second disk what he wrote because the first one has it.
        stopped = machine is not None and self._engine.freeze(machine.container_id)
        try:
            return self.disks.create_snapshots(volumes)
        finally:
            if machine and stopped:
                self._engine.unfreeze(machine.container_id)

    def delete_snapshot(self, snapshot_id: str) -> None:
        self.disks.delete_snapshot(snapshot_id)

    # power

    def boot(self, boot: Boot) -> Addresses:
        with ExitStack() as undo:
            for disk in boot.disks:
                undo.callback(self.disks.disconnect, disk.volume_id)
                self.disks.connect(disk.volume_id)
            undo.callback(self._drop_instance_stores, boot.instance_id)
            stores = [
                self.disks.connect_instance_store(boot.instance_id, number, size)
                for number, size in enumerate(boot.instance_store_gb, 1)
            ]
            container_id, address = self._start_container(boot)
            undo.callback(self._destroy, container_id)
            pid, private_ip = self._engine.get_process(container_id)
            machine = PoweredMachine(boot.instance_id, container_id, pid, self._record(boot.instance_id))
            undo.callback(machine.record.unlink, missing_ok=True)
            undo.callback(machine.close_services)
            machine.open_services(self._connected())
            # The order of NVMe devices is not promised: here a drive is never nvme1n1 if there is an instance store.
            for number, store in enumerate(stores, 1):
                machine.plug_instance_store(number, store)
            for disk in boot.disks:
                machine.plug(disk, self.disks.connect(disk.volume_id))
            machine.switch_on()
            undo.pop_all()
        self._watch(machine)
        return Addresses(public_ip=address or private_ip, private_ip=private_ip)

    def shut_down(self, instance_id: str, deadline_s: float) -> None:
        machine = self._find(instance_id)
        if machine is None:
            return
        machine.stopping = True
        deadline = time.monotonic() + deadline_s
        while not machine.released.is_set() and (left := deadline - time.monotonic()) > 0:
            self._engine.signal(machine.container_id, _SHUTDOWN_SIGNAL)
            machine.released.wait(min(_SIGNAL_AGAIN_S, left))
        if not machine.released.is_set():
            log.warning("%s did not shut down within %.0f s: power cut", instance_id, deadline_s)
            self._pull_the_plug(machine)
        _wait_released(machine)

    def cut_power(self, instance_id: str) -> None:
        machine = self._find(instance_id)
        if machine is None:
            return
        machine.stopping = True
        self._pull_the_plug(machine)
        _wait_released(machine)

    # what is done to a machine with power

    def attach(self, instance_id: str, disk: Disk) -> None:
        machine = self._get(instance_id)
        loop = self.disks.connect(disk.volume_id)
        try:
            machine.plug(disk, loop)
        except HardwareFailure:
            self.disks.disconnect(disk.volume_id)
            raise

    def detach(self, instance_id: str, disk: Disk) -> None:
        machine = self._find(instance_id)
        self.disks.disconnect(disk.volume_id)  # waits until it is unmounted, as EC2 does
        if machine:
            machine.unplug(disk)

    def install_login_key(self, instance_id: str, user: str, public_key: str) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", user):
            raise HardwareFailure(f"{user!r} is no name of a user")
        folder = self._get(instance_id).inside(f"/run/instance-connect/{user}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / sha256(public_key.encode()).hexdigest()[:16]
            file.write_text(f"{int(time.time()) + _LOGIN_KEY_S}\n{public_key.strip()}\n")
        except OSError as error:
            raise HardwareFailure(f"cannot give {instance_id} a login key: {error}") from error

    def console(self, instance_id: str) -> str:
        machine = self._find(instance_id)
        if machine:
            return self._engine.console(machine.container_id)
        saved = self._records / f"{instance_id}.console"
        return saved.read_text(errors="replace") if saved.exists() else ""

    # faults

    def fill_disk(self, instance_id: str, disk: Disk) -> None:
        self._get(instance_id)
        machine_faults.fill(self.disks.connect(disk.volume_id))

    def drop_ssh(self, instance_id: str) -> None:
        machine_faults.drop_ssh(self._get(instance_id).pid)

    def heal(self, instance_id: str) -> None:
        machine = self._find(instance_id)
        if machine is None:
            return
        machine_faults.allow_ssh(machine.pid)
        for volume_id in machine.drives:
            machine_faults.empty(self.disks.connect(volume_id))

    # inside

    @property
    def _records(self) -> Path:
        return self._home / "machines"

    def _record(self, instance_id: str) -> Path:
        return self._records / f"{instance_id}.json"

    def _connected(self) -> Api:
        if self._api is None:
            raise HardwareFailure("the hardware is not connected to an API")
        return self._api

    def _find(self, instance_id: str) -> PoweredMachine | None:
        with self._lock:
            return self._machines.get(instance_id)

    def _get(self, instance_id: str) -> PoweredMachine:
        machine = self._find(instance_id)
        if machine is None:
            raise HardwareFailure(f"machine {instance_id} has no power")
        return machine

    def _start_container(self, boot: Boot) -> tuple[str, str | None]:
        """Start the machine's container on the first free address; another sandbox may be faster."""
        tried: set[str] = set()
        while True:
            address = self._reserve_address(tried)
            chassis = Chassis(boot, self._image, self._home, address)
            container_id = self._engine.create(chassis.name, chassis.plan_container(self._host))
            try:
                self._engine.start(container_id)
                return container_id, address
            except HardwareFailure as error:
                self._engine.remove(container_id)
                taken = re.search("address already in use|port is already allocated", error.message)
                if address is None or not taken or len(tried) >= _START_ATTEMPTS:
                    raise
                tried.add(address)
            finally:
                self._reserved.discard(address or "")

    def _reserve_address(self, tried: set[str]) -> str | None:
        with self._lock:
            used = {found.address for found in self._engine.machines()}
            address = free_address(used | tried | self._reserved)
            if address:
                self._reserved.add(address)
            return address

    def _adopt(self, found: Found) -> None:
        """Take up a machine of an earlier daemon. One that never had power, or has none now, is removed."""
        record = self._record(found.instance_id)
        drives = read_record(record)
        if not found.running or drives is None:
            self._destroy(found.container_id)
            self._drop_instance_stores(found.instance_id)
            record.unlink(missing_ok=True)
            return
        pid, _ = self._engine.get_process(found.container_id)
        machine = PoweredMachine(found.instance_id, found.container_id, pid, record, drives)
        if self._api:
            try:
                machine.open_services(self._api)
            except BaseException:
                machine.close_services()
                raise
        self._watch(machine)

    def _watch(self, machine: PoweredMachine) -> None:
        with self._lock:
            self._machines[machine.instance_id] = machine
        threading.Thread(
            target=self._see_it_end, args=(machine,), name=f"watch-{machine.instance_id}", daemon=True
        ).start()

    def _see_it_end(self, machine: PoweredMachine) -> None:
        machine.wait_for_end()
        try:
            self._release(machine)
        except HardwareFailure as error:
            machine.failure = error
            log.error("%s: %s", machine.instance_id, error.message)
        finally:
            with self._lock:
                self._machines.pop(machine.instance_id, None)
            machine.released.set()
        if self._api and not machine.stopping:
            self._api.powered_off(machine.instance_id)

    def _release(self, machine: PoweredMachine) -> None:
        """Clear away what a machine without power leaves: nothing of it stays but its console."""
        machine.close_services()
        self._keep_console(machine)
        self._engine.remove(machine.container_id)
        for volume_id in machine.drives:
            device = loops.find(self.disks.volume_path(volume_id))
            if device:
                self._unhook(device)
        self._drop_instance_stores(machine.instance_id)
        cgroups.remove(machine.container_id)
        machine.record.unlink(missing_ok=True)

    def _drop_instance_stores(self, instance_id: str) -> None:
        """What was on them is gone with the power, as on EC2."""
        for store in self.disks.list_instance_stores(instance_id):
            device = loops.find(store)
            if device:
                self._unhook(device)
            store.unlink()

    def _unhook(self, device: Path) -> None:
        """Release the device of a machine that is gone. A filesystem left frozen would hold it for ever."""
        if not loops.is_unused_within(device, _ORPHAN_AFTER_S):
            power.thaw_orphan(device)
        loops.detach(device)

    def _keep_console(self, machine: PoweredMachine) -> None:
        text = self._engine.console(machine.container_id)[-_CONSOLE_BYTES:]
        (self._records / f"{machine.instance_id}.console").write_text(text)
        kept = sorted(self._records.glob("*.console"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-_CONSOLES_KEPT]:
            old.unlink(missing_ok=True)

    def _pull_the_plug(self, machine: PoweredMachine) -> None:
        self._engine.freeze(machine.container_id)  # nobody acts on the errors that now come
        for volume_id in machine.drives:
            device = loops.find(self.disks.volume_path(volume_id))
            if device:
                power.shut_down_filesystem(device)
        self._kill(machine.container_id)

    def _kill(self, container_id: str) -> None:
        """End every process of a machine. Docker's kill would wait for it, and what is frozen does not end."""
        pid = self._engine.find_process(container_id)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroups.thaw(container_id)

    def _destroy(self, container_id: str) -> None:
        """Leave nothing of a machine's container, whatever state it is in."""
        self._kill(container_id)
        self._engine.remove(container_id)
        cgroups.remove(container_id)


def _wait_released(machine: PoweredMachine) -> None:
    if not machine.released.wait(_RELEASE_DEADLINE_S):
        raise HardwareFailure(f"machine {machine.instance_id} does not die", hint="dmesg; docker ps")
    if machine.failure:
        raise machine.failure
