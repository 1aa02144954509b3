"""When a machine counts as idle: no processor, no GPU, nobody logged in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from xportal.agent.full.idle import Cpu, GpuUse, Idle, find_login

PORT_22 = "   0: 0100007F:0016 0100007F:A3B2 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


class Clock:
    """Time as a test says it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_idle_since_the_last_use() -> None:
    """Each use begins the count anew."""
    clock, used = Clock(), ["", "a GPU", "", ""]

    def use() -> str | None:
        return used.pop(0) or None

    idle = Idle(lambda: None, use, clock=clock)
    seconds = []
    for clock.now in (10.0, 20.0, 30.0, 55.0):
        seconds.append(idle.look())
    assert seconds == [10, 0, 10, 35]


def write_stat(proc: Path, pid: int, ticks: int) -> None:
    """A process with a name that is not easily read, and its time in user mode."""
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b) S 1 1 1 0 -1 4194304 1 1 0 0 {ticks} 0 0 0 20 0 1 0 1\n")


def test_a_tenth_of_a_core_is_use(tmp_path: Path) -> None:
    """Less is what a machine does for itself."""
    clock = Clock()
    write_stat(tmp_path, 7, 1000)
    cpu = Cpu(tmp_path, clock)
    write_stat(tmp_path, 7, 1090)
    clock.now = 10.0
    assert cpu() is None
    write_stat(tmp_path, 8, 110)
    clock.now = 20.0
    assert cpu() == "the processors"
    clock.now = 30.0
    assert cpu() is None


def test_this_computer_s_own_work_is_seen() -> None:
    """The kernel's files are as the code expects."""
    cpu = Cpu()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        os.getpid()
    assert cpu() == "the processors"


def test_a_login_is_a_connection_to_port_22(tmp_path: Path) -> None:
    """Established, to the machine; not one that listens, nor one from the machine."""
    net = tmp_path / "net"
    net.mkdir()
    for line, found in (
        (PORT_22, "a login"),
        (PORT_22.replace(" 01 ", " 0A "), None),
        (PORT_22.replace("0016", "0017"), None),
        ("", None),
    ):
        (net / "tcp").write_text(HEAD + line)
        assert find_login(tmp_path) == found
    (net / "tcp6").write_text(HEAD + PORT_22.replace("0100007F", "0" * 24 + "0100007F"))
    assert find_login(tmp_path) == "a login"


def test_a_gpu_is_in_use_as_nvidia_smi_says() -> None:
    """From one per cent on, and if there is no figure.

    What does not answer is asked once, and not waited for. It counts as use until the answer is late: the first one may
    take half a minute.
    """
    said = {"0\n0\n": None, "0\n37\n": "a GPU", "[N/A]\n": "a GPU", "": None}
    assert {text: GpuUse(("printf", text))() for text in said} == said
    assert GpuUse(("sh", "-c", "echo 37; exit 1"))() is None
    assert GpuUse(("no-such-program",))() is None
    began = time.monotonic()
    now = [0.0]
    hangs = GpuUse(("sleep", "61.5"), seconds=0.05, late=60, clock=lambda: now[0])
    assert hangs()
    now[0] = 59.0
    assert hangs()
    now[0] = 61.0
    assert [hangs(), hangs()] == [None, None]
    assert time.monotonic() - began < 10
    asked = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if words(path) == ["sleep", "61.5"]]
    assert len(asked) == 1
    os.kill(int(asked[0]), signal.SIGKILL)
    assert hangs() is None


def words(cmdline: Path) -> list[str]:
    """A process's command line; nothing if it has ended."""
    try:
        return cmdline.read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []
