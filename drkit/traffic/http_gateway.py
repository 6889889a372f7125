"""A gateway with an admin API, by configured calls; what it shows afterwards is what counts.

No such gateway has a compare-and-set: between look and call somebody else may move it, and the
reading afterwards shows that.
"""

from __future__ import annotations

from typing import Any

from drkit.compute.interface import Still, at_will
from drkit.config.places import GatewayCall, GatewayRead
from drkit.http_client import NoAnswer, answering, open_client
from drkit.io_policy import ADMIN_CALL
from drkit.secrets.interface import Secret
from drkit.traffic.apply import apply_plan, refuse
from drkit.traffic.interface import (
    Destination,
    Setting,
    SwitchFailed,
    SwitchPlan,
    SwitchUnknown,
    ToExternal,
    ToSite,
)


class HttpGateway:
    """The gateway at `url`. Held means that its own tier is off. Satisfies `Switch`."""

    def __init__(
        self,
        name: str,
        *,
        url: str,
        token: Secret | None,
        hold: GatewayCall,
        resume: GatewayCall,
        route: GatewayCall | None,
        read: GatewayRead,
    ) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._token = token
        self._hold = hold
        self._resume = resume
        self._route = route
        self._read = read

    @property
    def name(self) -> str:
        return self._name

    @property
    def record(self) -> str:
        return self._url

    def refusal(self, destination: Destination) -> str | None:
        if isinstance(destination, ToSite) and self._route and self._read.upstream is None:
            return "its upstream would be set and could not be read back: set read.upstream"
        return None

    def read(self) -> Setting:
        shown = self._ask("GET", self._read.path, {})
        enabled = _at(shown, self._read.enabled)
        if not isinstance(enabled, bool):
            raise self._failed(f"{self._read.path} shows no true or false at {self._read.enabled}")
        value = None
        if self._read.upstream is not None:
            upstream = _at(shown, self._read.upstream)
            if upstream is not None and not isinstance(upstream, str):
                raise self._failed(f"{self._read.path} shows no URL at {self._read.upstream}")
            value = _plain(upstream)
        return Setting(held=not enabled, value=value)

    def plan(self, before: Setting, destination: Destination) -> SwitchPlan:
        refuse(self, destination)
        match destination:
            case ToExternal():
                after = Setting(held=True, value=before.value)
            case ToSite(endpoint=endpoint):
                value = _plain(endpoint.url) if self._route else before.value
                after = Setting(held=False, value=value)
        return SwitchPlan(self._name, self.record, before, after)

    def apply(self, plan: SwitchPlan, still: Still = at_will) -> None:
        # The address is set before the tier is on again, so that nobody is sent to the old one.
        routed = Setting(held=plan.before.held, value=plan.after.value)
        apply_plan(self, plan, self._set, still, passing=(routed,))

    def _set(self, plan: SwitchPlan, still: Still) -> None:
        if plan.after.held:
            self._call(self._hold, None, still)
            return
        if self._route and plan.before.value != plan.after.value:
            self._lead(self._route, plan.after.value, still)
        if plan.before.held:
            self._call(self._resume, plan.after.value, still)

    def _lead(self, route: GatewayCall, url: str | None, still: Still) -> None:
        """Its upstream is `url`, and shows it: else its tier would come on with the old one."""
        unanswered: SwitchUnknown | None = None
        try:
            self._call(route, url, still)
        except SwitchUnknown as error:
            unanswered = error
        try:
            seen = self.read().value
        except SwitchFailed as error:
            raise unanswered or SwitchUnknown(error.message, hint=error.hint) from None
        if seen != url:
            failed = self._failed(f"its upstream was set to {url} and shows {seen}")
            raise unanswered or SwitchUnknown(failed.message, hint=failed.hint)

    def _call(self, call: GatewayCall, url: str | None, still: Still) -> None:
        params = {name: text.replace("{url}", url or "") for name, text in call.params.items()}
        still()
        try:
            self._ask(call.method, call.path, params)
        except NoAnswer as error:
            failed = self._failed(error.message)
            if error.sent:
                raise SwitchUnknown(failed.message, hint=failed.hint) from None
            raise failed from None

    def _ask(self, method: str, path: str, params: dict[str, str]) -> Any:
        """The JSON of a 2xx answer (None: it is none). Raises `SwitchFailed`; `NoAnswer` only
        for a call that changes something.
        """
        headers = {"Authorization": f"Bearer {self._token.reveal()}"} if self._token else {}
        try:
            with answering(self._url), open_client(self._url, ADMIN_CALL, headers=headers) as http:
                answer = http.request(method, path, params=params)
        except NoAnswer as error:
            if path != self._read.path:
                raise
            raise self._failed(error.message) from None
        if not answer.is_success:
            refused = answer.status_code in (401, 403)
            why = " (the token is not taken)" if refused else ""
            failed = self._failed(f"{method} {path} answers {answer.status_code}{why}")
            if answer.is_server_error and path != self._read.path:  # it may be done half, or later
                raise SwitchUnknown(failed.message, hint=failed.hint)
            raise failed
        try:
            return answer.json()
        except ValueError:
            return None

    def _failed(self, what: str) -> SwitchFailed:
        return SwitchFailed(
            f"{self._name}: the gateway at {self._url}: {what}",
            hint="see that the gateway runs and that its admin calls are configured as it has "
            "them; then run the command again",
        )


def _at(value: Any, dotted: str) -> Any:
    """What lies at "tiers.1.enabled" in JSON; None where there is nothing."""
    for part in dotted.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _plain(url: str | None) -> str | None:
    return url.rstrip("/") or None if url else None
