"""The program: its commands, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import typer

from xportal import local
from xportal.cli import containers, drives, forwarding, portals, sandbox, specs, ssh_config, watching
from xportal.cli.machine_options import SPEC_OPTIONS
from xportal.cli.options import common_callback
from xportal.console import Console
from xportal.errors import LocalFileError, SpecError, UsageError, XportalError

EXIT_STATUSES = (
    "Exit status: 0 done; 2 usage or spec; 3 refused by state (in use, forked, down, unknown, saving because AWS takes "
    "the machine back); 4 AWS said no; 5 no capacity; 6 save incomplete, nothing lost; 130 interrupted; 1 anything "
    "else, as when the machine went."
)

GROUPS = {"drives", "sandbox"}
AGAIN = "xportal status shows what there is, the same command again goes on"
GO_ON = {  # commands that go on where an interruption left them
    **dict.fromkeys(("up", "sweep", "push", "build"), AGAIN),
    "down": f"a machine whose save has begun ends itself, and is billed until two minutes after that; {AGAIN}",
}

app = typer.Typer(
    name="xportal",
    help="Cheap GPU machines that never lose your work.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(common_callback)
portals.add_to(app)
ssh_config.add_to(app)
forwarding.add_to(app)
watching.add_to(app)
specs.add_to(app)
containers.add_to(app)
app.add_typer(drives.app, name="drives", rich_help_panel="Drives")
app.add_typer(sandbox.app, name="sandbox")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program with the words of its command line; every ending has its exit status (see EXIT_STATUSES)."""
    given = sys.argv[1:] if argv is None else list(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's: the terminal's end is not ours
        signal.signal(signal.SIGHUP, _interrupt)
    local.open_standard_streams()
    console = Console()
    try:
        status = app(given, prog_name="xportal", standalone_mode=False)
        sys.stdout.flush()
    except XportalError as error:
        console.error(error.named(SPEC_OPTIONS) if isinstance(error, SpecError) else error)
        status = error.exit_status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # whoever read us has gone
        status = 1
    except OSError as error:  # nothing that this computer can do is a bug of ours
        failed = LocalFileError(f"this computer refuses: {local.reason(error)}")
        console.error(failed)
        status = failed.exit_status
    except Exception as error:
        status = _ended(error, given, console)
    if status == 130 and (left := GO_ON.get(_command_words(given).strip())):
        console.say(f"interrupted; {left}")
    local.give_up_unwritten()
    sys.exit(status if isinstance(status, int) else 0)


def _ended(error: Exception, given: Sequence[str], console: Console) -> int:
    if isinstance(error, typer.Abort):
        return 130
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # the command line was not understood
        if error.format_message():  # without words, help was shown
            console.error(UsageError(error.format_message(), hint=f"xportal {_command_words(given)}--help"))
        return int(error.exit_code)
    if os.environ.get("XPORTAL_DEBUG"):
        traceback.print_exc()
    unexpected = XportalError(
        f"unexpected {type(error).__name__}: {error}", hint="XPORTAL_DEBUG=1 shows where; please report it"
    )
    console.error(unexpected)
    return unexpected.exit_status


def _command_words(given: Sequence[str]) -> str:
    words = [word for word in given if word.replace("-", "").isalpha() and not word.startswith("-")]
    names = {c.name or (c.callback and c.callback.__name__) for c in app.registered_commands} | GROUPS
    if not words or words[0] not in names:
        return ""
    return f"{' '.join(words[: 2 if words[0] in GROUPS else 1])} "


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
