"""The instance metadata service, version 2, and the time by its clock."""

from __future__ import annotations

import http.client
import time
from email.utils import parsedate_to_datetime
from typing import Dict, Optional, Tuple

from .process import AgentError

HOST = "169.254.169.254"
TOKEN_PATH = "/latest/api/token"
TTL_SECONDS = "21600"  # the most there is; a token that expired earlier is answered 401
ANSWER_SECONDS = 2.0


class Imds:
    """One client. `clock` counts seconds and is the machine's, which is compared with nothing but itself."""

    def __init__(self, host: str = HOST, port: int = 80) -> None:
        self._host = host
        self._port = port
        self._token = ""
        self._ahead: Optional[float] = None  # of the monotonic clock

    def find(self, path: str) -> Optional[str]:
        """What stands at a path below /latest/meta-data/; None if there is no such path.

        Raises `AgentError` if the service does not say (refuses, is busy, is silent).
        """
        status, text = self._get(path)
        if status == 401:
            self._token = ""
            status, text = self._get(path)
        if status not in (200, 404):
            raise AgentError(f"the metadata service answers {status} to {path}")
        return text if status == 200 else None

    def now(self) -> float:
        """Seconds since 1970 by the service's clock, from the Date of its last answer.

        The Date has whole seconds: it is taken for up to one second late, never for early.
        """
        if self._ahead is None:
            self.find("instance-id")
        if self._ahead is None:
            raise AgentError("the metadata service answers without a Date")
        return time.monotonic() + self._ahead

    def _get(self, path: str) -> Tuple[int, str]:
        if not self._token:
            status, text = self._ask("PUT", TOKEN_PATH, {"X-aws-ec2-metadata-token-ttl-seconds": TTL_SECONDS})
            if status != 200:
                return status, text
            self._token = text
        return self._ask("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _ask(self, method: str, path: str, headers: Dict[str, str]) -> Tuple[int, str]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, headers=headers)
            got = connection.getresponse()
            answer = got.status, got.read().decode("utf-8", "replace")
            date = got.headers.get("Date")
        except (OSError, http.client.HTTPException) as error:
            raise AgentError(f"the metadata service does not answer: {error!r}") from error
        finally:
            connection.close()
        if date:
            self._ahead = parsedate_to_datetime(date).timestamp() + 1 - time.monotonic()
        return answer
