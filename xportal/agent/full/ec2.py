"""EC2's Query API, as far as a save needs it, signed with the instance role's credentials."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import time
from typing import Dict, List
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

from ..core.imds import Imds
from ..core.process import AgentError

VERSION = "2016-11-15"
ANSWER_SECONDS = 10.0
CREDENTIALS = "iam/security-credentials/"


def sign(url: str, region: str, body: str, stamp: str, credentials: Dict[str, str]) -> Dict[str, str]:
    """The headers of a POST to EC2 (signature version 4). `stamp` is the time, as 20150830T123600Z."""
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": urlsplit(url).netloc,
        "x-amz-date": stamp,
        "x-amz-security-token": credentials["Token"],
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"POST\n/\n\n{lines}\n{names}\n{digest(body)}"
    scope = f"{stamp[:8]}/{region}/ec2/aws4_request"
    key = b"AWS4" + credentials["SecretAccessKey"].encode()
    for part in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest(request)}"]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    who = f"Credential={credentials['AccessKeyId']}/{scope}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {who}, SignedHeaders={names}, Signature={key.hex()}"}


def digest(text: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def numbered(prefix: str, items: Dict[str, str], key: str, value: str) -> Dict[str, str]:
    """A dictionary as the Query API's numbered parameters: Filter.1.Name, Filter.1.Value.1, Filter.2.Name ..."""
    told = {}
    for number, item in enumerate(items.items(), 1):
        told[f"{prefix}.{number}.{key}"], told[f"{prefix}.{number}.{value}"] = item
    return told


class Ec2:
    """The API at an endpoint. Every call raises `AgentError` with AWS's words."""

    def __init__(self, imds: Imds, endpoint: str, region: str) -> None:
        self._imds = imds
        self._endpoint = endpoint
        self._region = region

    def find_snapshot(self, volume: str, tags: Dict[str, str]) -> str:
        """The id of a volume's snapshot with these tags, unless it failed; else nothing."""
        wanted = {"volume-id": volume, **{f"tag:{key}": value for key, value in tags.items()}}
        found = self.call("DescribeSnapshots", {"Owner.1": "self", **numbered("Filter", wanted, "Name", "Value.1")})
        states = [(item.get("snapshotId", ""), item.get("status", "")) for item in items(found, "snapshotSet")]
        return next((snapshot for snapshot, state in states if state != "error"), "")

    def has_pending(self, volume: str) -> bool:
        """Whether a snapshot of the volume is not complete yet."""
        wanted = {"volume-id": volume, "status": "pending"}
        found = self.call("DescribeSnapshots", {"Owner.1": "self", **numbered("Filter", wanted, "Name", "Value.1")})
        return bool(items(found, "snapshotSet"))

    def try_one_question(self) -> None:
        """Ask for what a save asks first. Raises what that would raise."""
        self.call("DescribeSnapshots", {"Owner.1": "self", "MaxResults": "5"})

    def create_snapshot(self, volume: str, description: str, tags: Dict[str, str]) -> str:
        """Start a snapshot. What is written after this returned is not in it. Returns its id."""
        tagged = numbered("TagSpecification.1.Tag", tags, "Key", "Value")
        told = {"VolumeId": volume, "Description": description, "TagSpecification.1.ResourceType": "snapshot"}
        answer = self.call("CreateSnapshot", {**told, **tagged})
        return fields(parsed(answer))["snapshotId"]

    def call(self, action: str, parameters: Dict[str, str]) -> str:
        """The XML that EC2 answers."""
        body = urlencode({"Action": action, "Version": VERSION, **parameters})
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._imds.now()))
        headers = sign(self._endpoint, self._region, body, stamp, self._credentials())
        url = urlsplit(self._endpoint)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", "/", body, headers)
            got = connection.getresponse()
            text = got.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise AgentError(f"{action}: {self._endpoint} does not answer: {error!r}") from error
        finally:
            connection.close()
        if got.status != 200:
            said = ": ".join(listed(text, "Code") + listed(text, "Message"))
            raise AgentError(f"AWS refused {action}: {said or got.status}")
        return text

    def _credentials(self) -> Dict[str, str]:
        """The role's, which change every few hours. Raises `AgentError` if the machine has no role."""
        role = self._imds.find(CREDENTIALS)
        told = role and self._imds.find(CREDENTIALS + role.split()[0])
        if not told:
            raise AgentError("this machine has no role with which to take a snapshot")
        credentials: Dict[str, str] = json.loads(told)
        if credentials.get("Code", "Success") != "Success":  # then there are no keys in it, or old ones
            why = credentials.get("Message") or "AWS says no more"
            raise AgentError(f"this machine's role gives it no credentials: {credentials['Code']}: {why}")
        return credentials


def items(text: str, name: str) -> List[Dict[str, str]]:
    """The items of a list in an answer, each with its fields by name: AWS promises no order of elements."""
    found = (element for element in parsed(text).iter() if local_name(element) == name)
    return [fields(item) for element in found for item in element]


def parsed(text: str) -> ElementTree.Element:
    """An answer as a tree. Raises `AgentError`."""
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise AgentError(f"AWS's answer makes no sense: {error}") from error


def fields(element: ElementTree.Element) -> Dict[str, str]:
    """The texts of an element's children, by name."""
    return {local_name(child): child.text or "" for child in element}


def local_name(element: ElementTree.Element) -> str:
    """Its name without its namespace."""
    return element.tag.rpartition("}")[2]


def listed(text: str, name: str) -> List[str]:
    """What stands in the XML elements of a name, in order."""
    return re.findall(f"<{name}>(.*?)</{name}>", text)
