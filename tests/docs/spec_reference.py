"""docs/spec.md: every key of a spec, from the classes of `xportal/spec/schema.py`, and the annotated example.

`python -m tests.docs.spec_reference > docs/spec.md` writes it anew.
"""

from __future__ import annotations

import sys
from typing import Any

from pydantic.fields import FieldInfo

from xportal.cli.specs import example
from xportal.spec.schema import SECTIONS, Section

TITLES = {"": "At the top", "drives[]": "drives", "containers.NAME": "containers"}
# Options of `up` and `watch` that are no property of the portal, and so no key: what each is about.
NO_KEY = {
    "--dry-run": "this command alone",
    "--spec": "which file it is",
    "--install": "how the watch runs",
    "--ssh-key": "once is enough: the key stays on the drive",
    "--json": "the answer",
    "--profile": "the account",
    "--region": "the account",
    "--sandbox": "the account",
    "--help": "the command itself",
}

HEAD = """# The spec: a portal in a file

A spec says in a file what a portal is to be: its machine, its drives, its containers, its limits. `xportal init` writes
an example, `xportal check` reads a file and tells all that is wrong with it, `xportal up` brings the portal up.
`xportal schema` prints JSON Schema of the file, for editors.

## Which file

`xportal up FILE` takes the file that it names: a word with a `/`, or with the ending `.yaml`, `.yml` or `.json`.
`xportal up NAME` takes `./NAME.yaml`, `./NAME.yml` or `./NAME.json` and `xportal up` takes `./portal.yaml` and so on.
If there is no such file, `up` works without one. `xportal up NAME --spec FILE` brings up a portal of another name from
a file, so that one file can serve several portals. The output names the file.

The portal has the name that the command line gives, else that of the key `name`, else that of the file without its
ending. For `./portal.yaml` without a name it is `xdrive`.

A file whose name ends with `.json` is JSON. All others are YAML, as version 1.2 has it: only `true` and `false` are
truth values, so that `restart: no` is text. Tags, merge keys (`<<`) and keys that are there twice are errors. A key
without a value counts as one that is not there.

## What wins

An option on the command line wins over the file, and `up` names the keys over which it wins. One of `--gpu`, `--cpu`,
`--type` and `--min-gpu-memory` replaces the keys of all four; `--drive` replaces all drives; `--on-demand` and
`--max-price` exclude each other, so each also replaces the other's key.

With a file, a plain `up` is not as last time: what the file does not say has its default, so that a key that you remove
has an effect. The drives are the exception: without the section `drives` they are those of the last `up`.

If the machine is up and does not have what the file asks for, `up` refuses and says what differs; `xportal down` and
then `xportal up` bring everything back on another machine.

## After `up`

The file is kept on the drive, as you wrote it, and `xportal spec PORTAL` prints it. Tags in AWS have its name, its
digest, and what the next machine needs of it. So all other commands work from any directory and any computer, without
the file:

- A plain `up` has the machine, drives and settings of the last `up`, and the file's market and maximum price. It does
  not boot the file's `image_id`, and says so: who may write tags in your account could choose what boots. It changes no
  container: those on the drive come back as they were.
- `xportal watch` keeps the file's limits, market and types, and says which file it follows. Its own options win. It
  goes by the file of the last `up` before it began.

## Containers

Each container carries a digest of its definition, as the label `xportal.spec`. Once the portal is ready, `up` with a
file goes through its containers:

- One that is missing is made and started. The machine pulls the image if it does not have it.
- One whose definition has changed is made anew. The old one is stopped and gets another name; it is removed when the
  new one has started, and goes on if the new one does not start. What it wrote into its own layer goes with it. Its
  anonymous volumes are the new one's, as with Docker Compose.
- All others are left alone, also those that have ended.

A container that you have made by hand is never replaced: if the file has one of the same name, `up` says so and ends
with 3. A container that is no longer in the file stays, and `up` names it. A changed value of a variable is a changed
definition.

## Variables

`${VAR}` and `$VAR` take a value of your environment, in every value of the file but that of `on_notice`, whose
variables are the shell's. As in Docker Compose, there are also `${VAR:-default}` (if it is not set, or empty),
`${VAR-default}` (if it is not set), `${VAR:?message}` and `${VAR?message}` (an error if so), `${VAR:+other}` and
`${VAR+other}` (if it is set), and `$$` is a dollar sign. Nothing takes the place of a variable that is not set, and a
warning says so. Keys have no variables.

The values do not leave your computer but for what they define: a container's go to Docker on the machine, which keeps
them on the drive. What is kept of the file has the variables' names. Errors and warnings have the text of the file. The
names of portals, drives, types and images stand in AWS's tags and requests: put no secret there.

## Errors

A file is read whole before anything is asked of AWS. All that is wrong with it is told at once, each fault on a line of
its own with the file, the line, the key, the value and what was expected, and the exit status is 2:

    error: portal.yaml:3: machine.gpus: this key is not known; did you mean gpu?
    error: portal.yaml:6: drives[0].size: "big" is not possible: expected a whole number of GiB, 1 to 65536
    error: portal.yaml has 2 errors: nothing was done

# The keys

"""
FOOT = """
# The example

`xportal init` writes this.

```yaml
{example}```

Written by `python -m tests.docs.spec_reference`; a test compares it.
"""


def page() -> str:
    """The whole page."""
    sections = [
        f"## {TITLES.get(place, place)}\n\n{_line(section.__doc__)}\n\n{_table(section)}"
        for place, section in SECTIONS.items()
    ]
    return HEAD + "\n".join(sections) + FOOT.format(example=example())


def options_of_keys() -> set[str]:
    """The options that win over some key; of a pair of options each one."""
    fields = [field for section in SECTIONS.values() for field in section.model_fields.values()]
    return {word for field in fields for word in option_of(field).replace("watch ", "").split(", ") if word}


def option_of(field: FieldInfo) -> str:
    """The option that wins over a key; "" if there is none."""
    extra: Any = field.json_schema_extra or {}
    return str(extra.get("option", ""))


def _table(section: type[Section]) -> str:
    lines = ["| key | option | |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        option = f"`{option_of(field)}`" if option_of(field) else ""
        needed = " It must be there." if field.is_required() else ""
        lines.append(f"| `{name}` | {option} | {_line(field.description)}{needed}{_default(field)} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    """What it is if nothing is said; where that is nothing at all, the meaning tells."""
    if isinstance(field.default, bool):
        return f" Without it: `{str(field.default).lower()}`."
    if isinstance(field.default, float):
        return f" Without it: `{field.default:g}`."
    return f" Without it: `{field.default}`." if isinstance(field.default, str) and field.default else ""


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.stdout.write(page())
