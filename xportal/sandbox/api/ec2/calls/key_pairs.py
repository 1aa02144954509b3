"""EC2 calls on key pairs."""

from __future__ import annotations

from moto.core.responses import ActionResult

from xportal.sandbox.api.ec2 import key_pairs
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.filters import select
from xportal.sandbox.api.ec2.tags import tags_of


class KeyPairCalls(Calls):
    def import_key_pair(self) -> ActionResult:
        given = self.given
        tags = tags_of(given, "key-pair").get("key-pair", {})
        key_pairs.check_new(self.backend, given["KeyName"])
        self.error_on_dryrun()
        key = key_pairs.import_key_pair(self.backend, given["KeyName"], given["PublicKeyMaterial"], tags)
        return ActionResult(key)

    def delete_key_pair(self) -> ActionResult:
        self.error_on_dryrun()
        key_id = key_pairs.delete_key_pair(self.backend, self.given)
        return ActionResult({"Return": True, "KeyPairId": key_id})

    def describe_key_pairs(self) -> ActionResult:
        given = self.given
        found = select(key_pairs.get_key_pairs(self.backend, given), given.get("Filters", []), key_pairs.FILTERS)
        shown = [
            {
                "KeyPairId": key.id,
                "KeyName": key.key_name,
                "KeyType": key.key_type,
                "KeyFingerprint": key.key_fingerprint,
                "CreateTime": key.create_time,
                "Tags": key.tag_set,
                **({"PublicKey": key.public_key} if given.get("IncludePublicKey") else {}),
            }
            for key in found
        ]
        return ActionResult({"KeyPairs": shown})
