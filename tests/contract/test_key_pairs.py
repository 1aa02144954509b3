"""Rules of key pairs: they are the drive's lock, so names are unique and deletion by id compares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.conftest import Account, Refuse, make_client, make_public_key


def test_a_name_is_imported_once(account: Account, refused: Refuse) -> None:
    """A second import of the same name is InvalidKeyPair.Duplicate, whatever the key."""
    account.import_key("xportal-d")
    no = refused(account.ec2.import_key_pair, KeyName="xportal-d", PublicKeyMaterial=make_public_key())
    assert no.code == "InvalidKeyPair.Duplicate"


def test_of_racing_imports_one_wins(account: Account) -> None:
    """Of eight imports of one name at once exactly one is accepted."""

    def race(_: int) -> bool:
        client = make_client("ec2", account.cloud.endpoint_url)
        try:
            client.import_key_pair(KeyName="lock", PublicKeyMaterial=make_public_key())
        except client.exceptions.ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(8))) == 1


def test_tags_ride_in_the_import(account: Account) -> None:
    """TagSpecifications of the import are on the key pair and can be filtered for."""
    spec = [{"ResourceType": "key-pair", "Tags": [{"Key": "xportal:portal", "Value": "p"}]}]
    account.import_key("xportal-d", TagSpecifications=spec)
    found = account.ec2.describe_key_pairs(Filters=[{"Name": "tag:xportal:portal", "Values": ["p"]}])["KeyPairs"]
    assert [key["Tags"] for key in found] == [spec[0]["Tags"]]


def test_deletion_by_id_spares_a_newer_key_of_the_name(account: Account, refused: Refuse) -> None:
    """An id whose key is gone deletes nothing, not even the key now under its name."""
    account.import_key("xportal-d")
    old = account.ec2.describe_key_pairs()["KeyPairs"][0]["KeyPairId"]
    account.ec2.delete_key_pair(KeyPairId=old)
    account.import_key("xportal-d")
    assert refused(account.ec2.delete_key_pair, KeyPairId=old).code == "InvalidKeyPair.NotFound"
    assert [key["KeyName"] for key in account.ec2.describe_key_pairs()["KeyPairs"]] == ["xportal-d"]


def test_deletion_by_an_unknown_name_is_no_error(account: Account) -> None:
    """DeleteKeyPair by a name that nobody has answers true."""
    assert account.ec2.delete_key_pair(KeyName="nobody")["Return"] is True


@pytest.mark.parametrize("material", [b"", b"not a key", b"ssh-ed25519 AAAA", b"-----BEGIN PRIVATE KEY-----"])
def test_a_malformed_key_is_refused(account: Account, refused: Refuse, material: bytes) -> None:
    """What is not an OpenSSH public key is InvalidKey.Format."""
    no = refused(account.ec2.import_key_pair, KeyName="k", PublicKeyMaterial=material)
    assert no.code == "InvalidKey.Format"


def test_key_pairs_are_asked_for_by_name_and_id(account: Account, refused: Refuse) -> None:
    """Known names and ids find theirs; one unknown is InvalidKeyPair.NotFound."""
    key = account.import_key("a")
    account.import_key("b")
    found = account.ec2.describe_key_pairs(KeyNames=["a"], IncludePublicKey=True)["KeyPairs"]
    assert [(k["KeyName"], k["PublicKey"].strip().encode()) for k in found] == [("a", key)]
    again = account.ec2.describe_key_pairs(KeyPairIds=[found[0]["KeyPairId"]])["KeyPairs"]
    assert [k["KeyName"] for k in again] == ["a"]
    assert "PublicKey" not in again[0]
    assert refused(account.ec2.describe_key_pairs, KeyNames=["a", "z"]).code == "InvalidKeyPair.NotFound"
    assert refused(account.ec2.describe_key_pairs, KeyPairIds=["key-0"]).code == "InvalidKeyPair.NotFound"


def test_tags_of_a_key_pair_change(account: Account) -> None:
    """CreateTags works on a key pair: that is the lock's heartbeat."""
    account.import_key("a")
    key = account.ec2.describe_key_pairs()["KeyPairs"][0]["KeyPairId"]
    account.ec2.create_tags(Resources=[key], Tags=[{"Key": "beat", "Value": "1"}])
    assert account.ec2.describe_key_pairs()["KeyPairs"][0]["Tags"] == [{"Key": "beat", "Value": "1"}]
