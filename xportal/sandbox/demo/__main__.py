"""Tell the story; exit 0 if all of it was true, 1 with what differs, 130 if interrupted."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from xportal.errors import XportalError
from xportal.sandbox.demo.stage import DemoFailed, Stage
from xportal.sandbox.demo.story import Story

LIMIT_S = 15 * 60


def main() -> int:
    """Whatever happens, nothing is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LIMIT_S)
    stage = Stage()
    left: list[str] = []
    try:
        status = _tell(stage)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        left = stage.close()
        sys.stderr.writelines(f"left behind: {trace}\n" for trace in left)
    return status or bool(left)


def _tell(stage: Stage) -> int:
    try:
        Story(stage).tell()
    except XportalError as problem:
        sys.stderr.write(f"error: the demo failed: {problem}\nthe sandbox's log ends:\n{stage.last_words()}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: cleaning up\n")
        return 130
    return 0


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise DemoFailed(f"it is not done after {LIMIT_S} s")


if __name__ == "__main__":
    sys.exit(main())
