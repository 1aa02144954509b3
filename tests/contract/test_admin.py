"""The sandbox's own routes. Who may use them: test_doors."""

from __future__ import annotations

from tests.contract.conftest import Account


def test_status_tells_everything(account: Account) -> None:
    """Instances, volumes and snapshots with their tags and states."""
    instance = account.launch_with_drive()
    account.make_snapshot(account.drive_of(instance))
    status = account.admin("GET", "status")
    assert status["endpoint_url"] == account.cloud.endpoint_url
    assert [(i["id"], i["state"], i["zone"]) for i in status["instances"]] == [
        (instance["InstanceId"], "running", "us-east-1a")
    ]
    assert [v["state"] for v in status["volumes"]] == ["in-use"]
    assert [s["state"] for s in status["snapshots"]] == ["completed"]


def test_calls_are_logged_with_their_parameters(account: Account) -> None:
    """Operation, parameters and error of each call, user data by its length alone; the log can be emptied."""
    account.launch(UserData="secret host key")
    account.admin("POST", "faults", kind="capacity", count=1)
    account.accepts({})
    account.client("sts").get_caller_identity()
    calls = account.admin("GET", "calls")["calls"]
    told = [(c["service"], c["operation"], c["status"], c["error"]) for c in calls]
    assert told == [
        ("ssm", "GetParameter", 200, None),
        ("ec2", "RunInstances", 200, None),
        ("ec2", "RunInstances", 500, "InsufficientInstanceCapacity"),
        ("sts", "GetCallerIdentity", 200, None),
    ]
    assert calls[1]["parameters"]["InstanceType"] == "t3.medium"
    assert calls[1]["parameters"]["UserData"] == "<20 bytes>"
    account.admin("DELETE", "calls")
    assert account.admin("GET", "calls")["calls"] == []


def test_faults_are_listed_while_they_last(account: Account) -> None:
    """A fault shows its count and its hits, and is gone when used up."""
    account.admin("POST", "faults", kind="capacity", type="t3.medium", count=2)
    account.accepts({})
    assert [(f["count"], f["hits"]) for f in account.admin("GET", "faults")["faults"]] == [(2, 1)]
    account.accepts({})
    assert account.admin("GET", "faults")["faults"] == []


def test_settings_are_changed(account: Account) -> None:
    """The duration of snapshots is a setting; what is no setting is refused."""
    assert account.admin("POST", "settings", snapshot_seconds=5)["settings"]["snapshot_seconds"] == 5.0
    assert (
        account.admin("POST", "settings", snapshot_bytes_per_second=9)["settings"]["snapshot_bytes_per_second"] == 9.0
    )
    told = account.admin("POST", "settings", snapshot_bytes_per_second=None)["settings"]
    assert told["snapshot_bytes_per_second"] is None
    for wrong in ({"colour": 1}, {"snapshot_seconds": -1}, {"snapshot_seconds": "x"}, {"snapshot_seconds": None}):
        assert account.ask_admin("POST", "settings", json=wrong).status_code == 400


def test_wrong_admin_requests_are_refused(account: Account) -> None:
    """Unknown routes are 404, bad bodies 400."""
    assert account.ask_admin("GET", "nothing").status_code == 404
    assert account.ask_admin("POST", "interrupt", data="[").status_code == 400
    assert account.ask_admin("POST", "faults", json={"kind": "capacity", "speed": 1}).status_code == 400
