"""Words that nobody of good will would choose, a machine that speaks them, and what they may do here: be shown."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from xportal.cli import main
from xportal.errors import DockerFailed, RemoteFailed
from xportal.machine.userdata import new_host_key
from xportal.remote import Completed

MANY = "a,b,c,d,e,f,g,h,i,j,k,demo"
DESCRIBED = "xportal drive"
PIECES = [
    # paths, patterns, commands, options, formats
    *("../../../Documents/*", "/etc/passwd", "a**", "[!a]", "*", "?", "~", "$(touch owned)", "`id`", "; reboot"),
    *("-oProxyCommand=x", "--help", "%s%n", "{0.__class__}", "[bold red]", "[/]", ":warning:", "\\", "'", '"', "null"),
    # numbers and times
    *("nan", "-inf", "1e999", "-1", "0x10", "1_000", "٣", "9" * 255, "0", "1", "2", "99"),
    *("1.0 2.0 2026-01-01T00:00:00", "nan nan 2026-01-01T00:00:00+00:00", "-1e9 0 2026-01-01T00:00:00+00:00"),
    *(
        "1 1 9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00+00:00",
        "1 2026-01-01T00:00:00",
    ),
    # names, kinds, descriptions
    *("demo", "rest", "demo,", ",demo", MANY, ",,,,", "final", "checkpoint", "rolling", "xportal-demo", "x" * 255),
    *(f"{DESCRIBED} demo, generation ,, final", f"{DESCRIBED} demo, generation 1,2, final"),
    *(f"{DESCRIBED} x/*, generation 7, final", f"{DESCRIBED} demo,rest, generation 1, checkpoint"),
    *("Created by CreateImage(", "x86_64", "sparc", "ssh-ed25519 AAAA", "i-0", "vol-0"),
    *('{"portal":"demo","at":"2026-01-01T00:00:00+00:00","drives":["../x"]}', '{"portal":"demo",', "[" * 200),
    '{"portal":"demo","at":"2026-01-01T00:00:00+00:00","drives":["demo"],"idle":1e999,"types":["*"],"architecture":"z"}',
    # what a terminal obeys
    *("\u202e\u2066", "\x85\x9b31m", "\u0301", "\U0001f469\u200d\U0001f4bb", "\xa0", "\r\nerror: no", "\t", "\n", " "),
]
RAW = ["\x1b]0;owned\x07", "\x1b[2J", "\x1b[6n", "\x1b", "\x07", "\x08", "\x00", "\x7f", "\x1b]52;c;cm0=\x07", "\ud800"]


@dataclass
class Words:
    """The same every time; `count` of them were given out."""

    random: random.Random
    count: int = 0

    def tag(self) -> str:
        """One that AWS could hold: XML has no other control characters, and a tag 256 characters."""
        self.count += 1
        pieces = self.random.choices(PIECES, k=self.random.choice([1, 1, 1, 2, 3]))
        return "".join(pieces)[: self.random.choice([255, 255, 40])]

    def description(self) -> str:
        """One that EC2 takes."""
        return self.tag()[:255]

    def raw(self) -> str:
        """One that a machine may write."""
        self.count += 1
        return "".join(self.random.choices(PIECES + RAW * 3, k=3))

    def value(self) -> Any:
        """Any value of JSON."""
        odd: list[Callable[[], Any]] = [
            self.raw, lambda: None, lambda: True, lambda: -1, lambda: 10**400, lambda: float("nan"), list, dict,
            lambda: [self.raw()], lambda: {"name": self.raw()},
        ]  # fmt: skip
        return self.random.choice(odd)()

    def mostly(self, usual: Any) -> Any:
        """A usual value, or a hostile one in its place."""
        return usual if self.random.random() < 0.7 else self.value()


@dataclass
class HostileHost:
    """FAKE of a Host whose machine answers with hostile words, some of them in the agent's own form."""

    words: Words

    def run(self, argv: Sequence[str], *, check: bool = True, **_: Any) -> Completed:
        """A status, true or not; anything else fails now and then, with words."""
        if "status" in argv:
            return Completed(self._status(), self.words.raw(), 0)
        if check and self.words.random.random() < 0.2:
            raise RemoteFailed(f"{argv[0]} ended: {self.words.raw()}", status=1)
        return Completed(self.words.raw(), self.words.raw(), 0)

    def lines(self, _argv: Sequence[str], **_: Any) -> Iterator[str]:
        """A log: some steps, what is no step, an end."""
        mostly = self.words.mostly
        steps: list[Any] = [{"t": 0.1, "step": mostly("frozen"), "text": self.words.raw()}, self.words.value()]
        for step in steps[: self.words.random.choice([1, 1, 1, 2])]:
            yield json.dumps(step)
        result = {
            "in_time": mostly(True),
            "took": mostly(1.5),
            "back": mostly(2),
            "steps": mostly({self.words.raw(): 1.0}),
        }
        result |= {"snapshots": mostly({}), "deferred": mostly([]), "killed": mostly([self.words.raw()])}
        end = {"end": True, "ok": mostly(True), "error": self.words.raw(), "result": mostly(result)}
        yield self.words.random.choice([json.dumps(end), self.words.raw()])

    @contextmanager
    def docker(self) -> Iterator[Any]:
        """Docker says no, in words, or answers."""
        if self.words.random.random() < 0.3:
            raise DockerFailed(f"Docker does not answer: {self.words.raw()}")
        yield SimpleNamespace(api=self)

    def containers(self, **_: Any) -> list[Any]:
        """Docker's list."""
        mostly, raw = self.words.mostly, self.words.raw
        return [{"Id": "c1", "Status": raw(), "State": raw()}, mostly({"Id": "c2", "Status": mostly(raw())})]

    def inspect_container(self, _id: str) -> Any:
        """Docker's words about a container."""
        mostly, raw = self.words.mostly, self.words.raw
        ports = {raw(): [{"HostIp": raw(), "HostPort": mostly("80")}]}
        inspected = {"Id": raw(), "Name": raw(), "Config": {"Image": raw()}, "State": {"Running": mostly(True)}}
        inspected["HostConfig"] = mostly({"PortBindings": mostly(ports), "DeviceRequests": mostly(None)})
        return mostly(inspected | {"NetworkSettings": mostly({"Ports": mostly(None)})})

    def close(self) -> None:
        """Nothing is open."""

    def _status(self) -> str:
        mostly, raw = self.words.mostly, self.words.raw
        drive = {
            "name": raw(),
            "mount": raw(),
            "volume_id": raw(),
            "generation": mostly(1),
            "size_bytes": mostly(10),
            "used_bytes": mostly(9),
        }
        container = {"name": raw(), "running": mostly(True), "note": mostly(raw()), "gpu": mostly(False)}
        told = {"phase": mostly("ready"), "error": mostly(None), "gpu": mostly("T4"), "docker": mostly("20.10")}
        told |= {"drives": mostly([mostly(drive)]), "containers": mostly([mostly(container)])}
        return self.words.random.choice([json.dumps(mostly(told)), json.dumps(told), raw()])


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename": 2, "os.link": 2, "os.symlink": 2}  # how many of an event's arguments are paths
CHANGES |= dict.fromkeys(("open", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.utime", "os.truncate"), 1)
PROGRAMS = ("os.exec", "os.posix_spawn", "os.system", "subprocess.Popen")


@dataclass
class Touched:
    """The files that the program changes while it is watched: an audit hook, which stays for the process's life."""

    allowed: tuple[Path, ...]
    watching: bool = False
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event in PROGRAMS:
            self.wrong.append(f"{event} {arguments[:2]}")
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        for path in arguments[: CHANGES.get(event, 0)]:
            if isinstance(path, (str, bytes)) and not self._is_ours(Path(os.path.abspath(os.fsdecode(path)))):
                self.wrong.append(f"{event} {path!r}")

    def _is_ours(self, path: Path) -> bool:
        return path == Path(os.devnull) or any(path.is_relative_to(allowed) for allowed in self.allowed)


@dataclass(frozen=True)
class Said:
    """How a command ended, and all that it wrote."""

    argv: tuple[str, ...]
    status: object
    text: str

    def wrong(self) -> list[str]:
        """What of it no word may bring about."""
        wrong = []
        if self.status not in range(7):
            wrong.append(f"ended with {self.status}")
        if "Traceback" in self.text or "unexpected" in self.text or "report it" in self.text:
            wrong.append("a bug")
        odd = {c for c in self.text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}
        if odd:
            wrong.append(f"control characters {odd!r}")
        return [f"xportal {' '.join(self.argv)}: {what}\n{self.text}" for what in wrong]


def typed(*argv: str, stderr: io.StringIO | None = None) -> Said:
    """A command typed in this process, by the program's own `main`. Without a `stderr` of its own the text has both."""
    out = io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(stderr or out):
            main(argv)
    except SystemExit as end:
        return Said(argv, end.code, out.getvalue())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise AssertionError("the program ends with a status")


HOST_KEY = new_host_key().public
