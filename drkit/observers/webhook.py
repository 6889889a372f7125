"""A POST of JSON to a URL; any 2xx answer says that it arrived."""

from __future__ import annotations

from urllib.parse import urlsplit

from drkit.http_client import NoAnswer, answering, open_client
from drkit.io_policy import OBSERVER_CALL, Deadline
from drkit.observers.interface import Alert, ObserverFailed, alert_json
from drkit.secrets.interface import Secret

_HINT = "see that the address is right and takes a POST of JSON; the alert is told again later"


class Webhook:
    """The receiver at `url`. Redirects are not followed: the token goes nowhere else.

    A URL often holds a secret of its own, so that errors name its server only.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        token: Secret | None = None,
        trust: str | None = None,
        deadline: Deadline = OBSERVER_CALL,
    ) -> None:
        self._name = name
        self._url = url
        self._token = token
        self._trust = trust
        self._deadline = deadline

    @property
    def name(self) -> str:
        return self._name

    def notice(self, alert: Alert) -> None:
        parts = urlsplit(self._url)
        server = f"{parts.scheme}://{parts.netloc}"
        target = self._url.removeprefix(server) or "/"
        headers = {"Idempotency-Key": alert.id}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            with (
                answering(server),
                open_client(server, self._deadline, headers=headers, trust=self._trust) as http,
                # what it answers beside the status is not read: it may be endless
                http.stream("POST", target, json=dict(alert_json(alert))) as answer,
            ):
                status = answer.status_code
        except NoAnswer as error:
            raise ObserverFailed(f"{self._name}: {error.message}", hint=_HINT) from error
        if not 200 <= status < 300:
            raise ObserverFailed(f"{self._name}: {server} answers {status}", hint=_HINT)
