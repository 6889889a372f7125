"""An A record on any server that takes signed updates (RFC 2136, RFC 8945), by compare-and-set.

The prerequisite of RFC 2136 section 2.4.2 ("RRset exists, value dependent") makes the server itself
refuse an update when the record is no longer what the plan was made from.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update

from drkit.clock import Clock, SystemClock
from drkit.compute.interface import Still, at_will
from drkit.errors import ConfigError
from drkit.io_policy import DNS_QUERY
from drkit.secrets.interface import Secret
from drkit.traffic.apply import apply_plan, moved, refuse
from drkit.traffic.interface import (
    Destination,
    Setting,
    SwitchFailed,
    SwitchPlan,
    SwitchUnknown,
    ToExternal,
    ToSite,
)

_READ_BACK_PAUSE_S = 0.05
_KEPT_BY_OTHERS = (
    dns.rcode.NXRRSET,
    dns.rcode.YXRRSET,
    dns.rcode.NXDOMAIN,
    dns.rcode.YXDOMAIN,
)


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key; `secret` is base64, as every DNS server writes it."""

    name: str
    secret: Secret
    algorithm: str = "hmac-sha256"


class Rfc2136Record:
    """`record` in `zone`, asked of and set at `server` itself, over TCP. Satisfies `Switch`."""

    def __init__(
        self,
        name: str,
        *,
        zone: str,
        record: str,
        ttl_s: int,
        server: str,
        port: int,
        key: Key,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._zone = dns.name.from_text(zone)
        self._record = _absolute(record, self._zone)
        self._ttl_s = ttl_s
        self._server = server
        self._port = port
        self._key = key
        self._clock = clock or SystemClock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def record(self) -> str:
        return self._record.to_text(omit_final_dot=True)

    def refusal(self, destination: Destination) -> str | None:
        match destination:
            case ToExternal():
                return "DNS cannot carry traffic to the external API; a gateway can"
            case ToSite(endpoint=endpoint):
                if not _is_ipv4(endpoint.host):
                    return f"an A record holds an IPv4 address, and {endpoint.host} is none"
                if not endpoint.stable:
                    return f"port {endpoint.port} was not chosen by us, and DNS carries no port"
        return None

    def read(self) -> Setting:
        """All addresses of the record, joined by commas, as the authority gives them."""
        question = dns.message.make_query(self._record, "A")
        question.flags &= ~dns.flags.RD
        try:
            answer = self._exchange(question)
        except SwitchUnknown as error:  # a question changes nothing
            raise SwitchFailed(error.message, hint=error.hint) from None
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise self._failed(f"answers {dns.rcode.to_text(answer.rcode())} for {self.record}")
        if not answer.flags & dns.flags.AA:
            raise self._failed(f"is no authority for {self.record}")
        addresses: list[str] = []
        for records in answer.answer:
            if records.rdtype == dns.rdatatype.CNAME:
                raise self._failed(f"says that {self.record} is a CNAME; it must be an A record")
            if records.rdtype == dns.rdatatype.A and records.name == self._record:
                addresses += [item.to_text() for item in records]
        return Setting(held=False, value=",".join(sorted(addresses)) or None)

    def plan(self, before: Setting, destination: Destination) -> SwitchPlan:
        refuse(self, destination)
        value = destination.endpoint.host if isinstance(destination, ToSite) else None
        return SwitchPlan(self._name, self.record, before, Setting(held=False, value=value))

    def apply(self, plan: SwitchPlan, still: Still = at_will) -> None:
        apply_plan(self, plan, self._update, still, settled=self._settled)

    def _update(self, plan: SwitchPlan, still: Still) -> None:
        update = dns.update.UpdateMessage(self._zone)
        try:
            keyring = dns.tsigkeyring.from_text({self._key.name: self._key.secret.reveal()})
        except ValueError:
            raise self._failed("is given a key secret that is no base64") from None
        update.use_tsig(keyring, algorithm=dns.name.from_text(self._key.algorithm))
        if plan.before.value is None:
            update.absent(self._record, "A")
        else:
            update.present(self._record, "A", *plan.before.value.split(","))
        update.delete(self._record, "A")
        for address in (plan.after.value or "").split(","):
            if address:
                update.add(self._record, self._ttl_s, "A", address)
        still()
        answer = self._exchange(update)
        if answer.rcode() in _KEPT_BY_OTHERS:
            if (now := self.read()) != plan.after:
                raise moved(self, plan, now)
        elif answer.rcode() != dns.rcode.NOERROR:
            raise self._failed(f"refuses the update: {dns.rcode.to_text(answer.rcode())}")

    def _settled(self, wanted: Setting) -> bool:
        """A server may show a change some milliseconds after it has said yes to it."""
        until_s = self._clock.elapsed_s() + DNS_QUERY.total_s
        while self.read() != wanted:
            if self._clock.elapsed_s() >= until_s:
                return False
            self._clock.sleep(_READ_BACK_PAUSE_S)
        return True

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        """Raises `SwitchFailed`; for what may have arrived, and got no answer, `SwitchUnknown`."""
        try:
            where = self._server
            if not dns.inet.is_address(where):
                where = socket.gethostbyname(where)
            return dns.query.tcp(message, where, timeout=DNS_QUERY.total_s, port=self._port)
        except dns.exception.Timeout:
            failed = self._failed("did not answer in time")
            raise SwitchUnknown(failed.message, hint=failed.hint) from None
        except (dns.tsig.PeerError, dns.tsig.BadSignature) as error:
            raise self._failed(f"does not take the key {self._key.name}: {error}") from None
        except (ConnectionRefusedError, socket.gaierror) as error:
            raise self._failed(f"cannot be reached: {error}") from None
        except (OSError, EOFError, dns.exception.DNSException) as error:
            failed = self._failed(f"gave no answer: {error}")
            raise SwitchUnknown(failed.message, hint=failed.hint) from None

    def _failed(self, what: str) -> SwitchFailed:
        return SwitchFailed(
            f"{self._name}: the DNS server {self._server}:{self._port} {what}",
            hint="see that it runs, holds the zone, and allows updates with this key; "
            "then run the command again",
        )


def _absolute(record: str, zone: dns.name.Name) -> dns.name.Name:
    """`record` as people write it: a whole name without its dot, or one label within the zone."""
    name = dns.name.from_text(record, origin=zone if "." not in record else dns.name.root)
    if not name.is_subdomain(zone):
        raise ConfigError(
            f"the record {record} does not lie in the zone {zone.to_text(omit_final_dot=True)}",
            hint="correct `record`, `drill_record` or `zone` of this switch",
        )
    return name


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
