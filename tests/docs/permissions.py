"""docs/permissions.md: the least policies, from the files that ship with xportal.

`python -m tests.docs.permissions > docs/permissions.md` writes it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import xportal

POLICIES = Path(xportal.__file__).parent / "aws" / "policies"

TEXT = """# Permissions

The least that AWS must allow. Both policies are files of the package: `xportal/aws/policies/user.json` and
`xportal/aws/policies/machine.json`. Tests check that they have the actions that xportal's own code asks for, and no
others (`tests/unit/aws/test_permissions.py`), and that the commands work under the first
(`tests/crash/test_permissions.py`, `tests/crash/test_cuts.py`). Nobody has tried them on AWS yet.

Written by `python -m tests.docs.permissions`; a test compares it.

## Whoever uses xportal

Make a policy of it in IAM, and attach it to the user, group or role whose credentials xportal uses. In China and in
GovCloud, `arn:aws:` is `arn:aws-cn:` or `arn:aws-us-gov:`; in China, `ec2.amazonaws.com` is `ec2.amazonaws.com.cn`.

```json
{user}
```

- `TagCopies`: a snapshot or volume that somebody made by hand has none of xportal's tags, and xportal writes on it of
  which drive it is. So whoever has this policy can put xportal's tag on any snapshot or volume of the account, and then
  delete it. Only xportal's keys and `Name` can be written or removed so.
- `LaunchWith`: a machine can be made from any image and any snapshot that the account can read, in any subnet.
- `MakeTheMachinesRole` and `GiveItToMachines`: without them machines have no role. `up` says so, and goes on. At AWS's
  notice such a machine saves and unmounts the drive, and the next command takes the snapshot.
- `MakeTheRoleOfSpot`: the first spot machine of an account needs AWS's own role for Spot.
- `LogInToMachinesAgain`: AWS has no condition on tags for this action. It is needed where the login key is lost.

If an action is not allowed, the command ends with exit status 4 and an error that names the action and the resource.

`xportal sandbox user POLICY.json` gives this or another policy to an IAM user of the sandbox. The sandbox evaluates it
as AWS's Service Authorization Reference says: a condition key, or a form of resource, that AWS does not have for an
action fits no request.

    xportal sandbox start
    xportal sandbox user                                  # the policy above
    xportal --profile xportal-sandbox-user up

## Machines

xportal itself puts this policy into the role `xportal`, which machines have, with the account's own partition and
number in it. With it a machine takes snapshots of its own drives ([security.md](security.md)).

```json
{machine}
```
"""


def page() -> str:
    """The page as it should be."""
    return TEXT.replace("{user}", _read("user")).replace("{machine}", _read("machine"))


def _read(name: str) -> str:
    return (POLICIES / f"{name}.json").read_text().strip()


if __name__ == "__main__":
    sys.stdout.write(page())
