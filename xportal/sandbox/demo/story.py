"""The story, chapter by chapter. Every claim it makes is checked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xportal.sandbox import image
from xportal.sandbox.demo.stage import DemoFailed, Stage
from xportal.sandbox.hardware.docker import Engine

DOCKERFILE = """FROM {base}
RUN apt-get update -q && apt-get install -yq --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
"""
TRAIN = Path(__file__).with_name("train.py")


class Story:
    """What is told, and what has to be remembered from one chapter to a later one."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.began = time.monotonic()
        self.before: dict[str, Any] = {}

    def tell(self) -> None:
        """All of it; raises DemoFailed where something is not as claimed."""
        chapters: tuple[tuple[str, Callable[[], None]], ...] = (
            ("A cloud on this computer", self.start),
            ("An image with a program to train a model", self.build),
            ("A machine, with a drive at /v1", self.up),
            ("Work", self.work),
            ("Everything is saved, and nothing is left that costs money", self.down),
            ("Back, elsewhere, on a machine with a GPU", self.up_with_gpu),
            ("Good night", self.end),
        )
        for number, (title, chapter) in enumerate(chapters, start=1):
            self.stage.say(f"\n── {number}. {title} ({time.monotonic() - self.began:.0f} s)\n")
            chapter()

    def start(self) -> None:
        """The sandbox."""
        self.stage.say("Real machines and disks behind AWS's API, with no account and no cost.\n")
        self.stage.type(f"xportal sandbox start --port {self.stage.port}")
        self.stage.export("AWS_PROFILE", "xportal-sandbox")

    def build(self) -> None:
        """A small image, on this computer's Docker."""
        base = image.ensure_base(Engine.connect().client, self.stage.say)
        self.stage.write("Dockerfile", DOCKERFILE.format(base=base))
        self.stage.write("train.py", TRAIN.read_text())
        self.stage.type("cat Dockerfile")
        self.stage.type("docker build --quiet --network host --tag xportal-demo .")

    def up(self) -> None:
        """The first machine."""
        self.stage.type("xportal up demo --cpu")
        self.stage.type("xportal push demo xportal-demo")
        self.stage.type("xportal ssh demo -- tee /v1/train.py <train.py >/dev/null")

    def work(self) -> None:
        """Data in every place where people leave some."""
        self.stage.type("xportal run demo --name train xportal-demo -- python3 /v1/train.py")
        log = self.stage.type("xportal logs -f demo train | head -n 5")
        self.stage.say("\nA big file in the container itself, and a note in the home directory:\n")
        self.stage.type("xportal exec demo train -- dd if=/dev/urandom of=/opt/features.bin bs=1M count=50 status=none")
        self.stage.type("xportal ssh demo -- 'echo learning rate 0.01 works >notes.txt'")
        self.stage.type("xportal ps demo")
        self.before = {"epoch": _epoch(log), "sums": self._sums(), **self._running()}

    def down(self) -> None:
        """The save."""
        self.stage.type("xportal down demo")
        self.stage.type("xportal status")
        self.stage.type("xportal drives")
        cloud = self.stage.ask("xportal sandbox status")
        self._check("no machine is left", cloud["machines"], [])
        copies = [(copy["id"].split("-")[0], copy["state"]) for copy in cloud["drives"]]
        self._check("of the drive no volume is left, but one complete snapshot", copies, [("snap", "completed")])

    def up_with_gpu(self) -> None:
        """The second machine."""
        self.stage.type("xportal up demo --gpu")
        self.stage.type("xportal ps demo")
        self.stage.type("xportal exec demo train -- nvidia-smi")
        sums = self._sums()
        log = self.stage.type("xportal logs -f demo train | grep -m 1 -A 3 'start 2'")
        after = self._running()
        self._check("the container is the same", after["container"], self.before["container"])
        self._check("it has the (simulated) GPU now, and had none", (self.before["gpu"], after["gpu"]), (False, True))
        self._check("the machine is in another zone", after["zone"] != self.before["zone"], True)
        self._check("every file is as it was", sums, self.before["sums"])
        self._check("training went on from its checkpoint", _epoch(log) > self.before["epoch"], True)

    def end(self) -> None:
        """All of it goes away."""
        self.stage.type("xportal down demo")
        self.stage.type("xportal sandbox reset")
        self._check("no machine, mount, loop device, cgroup or process is left", self.stage.wait_for_traces(), [])
        self.stage.say(f"\nThat was the main job, in {time.monotonic() - self.began:.0f} s.")

    def _sums(self) -> str:
        return self.stage.type("xportal exec demo train -- sha256sum /opt/features.bin") + self.stage.type(
            "xportal ssh demo -- sha256sum /v1/train.py notes.txt"
        )

    def _running(self) -> dict[str, Any]:
        [portal] = self.stage.ask("xportal status demo")
        [container] = self.stage.ask("xportal ps demo")
        self._check("the container runs", container["running"], True)
        return {"zone": portal["zone"], "container": container["id"], "gpu": container["gpu"] is not None}

    def _check(self, claim: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise DemoFailed(f"not so: {claim}\n  expected: {expected}\n  found:    {found}")
        self.stage.say(f"✓ {claim}")


def _epoch(log: str) -> int:
    """The last epoch that a log of train.py names."""
    return max((int(number) for number in re.findall(r"epoch (\d+)", log)), default=0)
