"""One DNS zone: answers, and updates whole or not at all (RFC 1034, RFC 2136).

The zone is an ordinary master file that is replaced atomically before a change is served, so that
what was answered with NOERROR is still there after kill -9.
"""

from __future__ import annotations

import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.update
import dns.zone

from drkit.stores.durable import write_file

IN, ANY, NONE = dns.rdataclass.IN, dns.rdataclass.ANY, dns.rdataclass.NONE
SOA, NS, CNAME = dns.rdatatype.SOA, dns.rdatatype.NS, dns.rdatatype.CNAME
TYPE_ANY = dns.rdatatype.ANY
LONGEST_CNAME_CHAIN = 8

Records = dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rdataset.Rdataset]


class Refused(Exception):
    """An update that leaves the zone as it was; `rcode` goes into the answer."""

    def __init__(self, rcode: dns.rcode.Rcode) -> None:
        super().__init__(dns.rcode.to_text(rcode))
        self.rcode = rcode


class Zone:
    """Thread-safe. `records` is replaced, never changed, so that readers need no lock."""

    def __init__(self, origin: str, path: Path) -> None:
        self.origin = dns.name.from_text(origin)
        self._path = path
        self._writing = threading.Lock()
        if not path.exists():
            write_file(path, _first_content(self.origin).encode())
        self._records = _parse(path.read_text(), self.origin)

    def answer(self, response: dns.message.Message, question: dns.rrset.RRset) -> None:
        """Fills the authoritative answer to one question for a name in this zone."""
        records = self._records
        name, rdtype = question.name, question.rdtype
        for _ in range(LONGEST_CNAME_CHAIN):
            found = [
                rdataset
                for (owner, kind), rdataset in records.items()
                if owner == name and (rdtype in (kind, TYPE_ANY) or kind == CNAME)
            ]
            response.answer += [dns.rrset.from_rdata_list(name, r.ttl, list(r)) for r in found]
            if not found or rdtype in (found[0].rdtype, TYPE_ANY):
                break
            name = found[0][0].target
            if not name.is_subdomain(self.origin):
                return
        if not found:
            if not any(owner.is_subdomain(name) for owner, _ in records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = records[self.origin, SOA]
            response.authority.append(
                dns.rrset.from_rdata_list(self.origin, soa[0].minimum, list(soa))
            )

    def update(self, message: dns.update.UpdateMessage) -> None:
        """Applies all of the update, or raises `Refused` and leaves the zone as it was."""
        with self._writing:
            _check_prerequisites(self._records, message.prerequisite, self.origin)
            for change in message.update:
                if not change.name.is_subdomain(self.origin):
                    raise Refused(dns.rcode.NOTZONE)
            after = dict(self._records)  # its rdatasets are replaced, never changed
            for change in message.update:
                _apply(after, change, self.origin)
            if _text(after) != _text(self._records):
                _move_serial(after, self.origin)
                write_file(self._path, _text(after).encode())
                self._records = after


def _check_prerequisites(
    records: Records, prerequisites: list[dns.rrset.RRset], origin: dns.name.Name
) -> None:
    """RFC 2136, 3.2. RRs of the zone's class are collected and compared as whole RRsets."""
    wanted: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], set[object]] = {}
    for rrset in prerequisites:
        key = (rrset.name, rrset.rdtype)
        if not rrset.name.is_subdomain(origin):
            raise Refused(dns.rcode.NOTZONE)
        if rrset.ttl:
            raise Refused(dns.rcode.FORMERR)
        name_in_use = any(owner == rrset.name for owner, _ in records)
        if rrset.deleting == ANY:
            if rrset.rdtype == TYPE_ANY:
                if not name_in_use:
                    raise Refused(dns.rcode.NXDOMAIN)
            elif key not in records:
                raise Refused(dns.rcode.NXRRSET)
        elif rrset.deleting == NONE:
            if rrset.rdtype == TYPE_ANY:
                if name_in_use:
                    raise Refused(dns.rcode.YXDOMAIN)
            elif key in records:
                raise Refused(dns.rcode.YXRRSET)
        else:
            wanted.setdefault(key, set()).update(rrset)
    for key, rdatas in wanted.items():
        if key not in records or set(records[key]) != rdatas:
            raise Refused(dns.rcode.NXRRSET)


def _apply(records: Records, change: dns.rrset.RRset, origin: dns.name.Name) -> None:
    """RFC 2136, 3.4.2. The apex keeps its SOA and its last NS whatever is asked."""
    key = (change.name, change.rdtype)
    kept = {(origin, SOA), (origin, NS)}
    if change.deleting == ANY:
        for owner, kind in list(records):
            asked = owner == change.name and change.rdtype in (kind, TYPE_ANY)
            if asked and (owner, kind) not in kept:
                del records[owner, kind]
    elif change.deleting == NONE:
        if key in records and change.rdtype != SOA:
            left = [rdata for rdata in records[key] if rdata not in change]
            if left:
                records[key] = dns.rdataset.from_rdata_list(records[key].ttl, left)
            elif key not in kept:
                del records[key]
    else:
        if change.rdtype == TYPE_ANY:
            raise Refused(dns.rcode.FORMERR)
        others = {kind for owner, kind in records if owner == change.name} - {change.rdtype}
        if (change.rdtype == CNAME and others) or CNAME in others:
            return  # 3.4.2.2: a CNAME stands alone, and the conflicting RR is ignored
        held = [] if change.rdtype in (SOA, CNAME) else list(records.get(key, ()))
        both = held + [rdata for rdata in change if rdata not in held]
        records[key] = dns.rdataset.from_rdata_list(change.ttl, both)


def _move_serial(records: Records, origin: dns.name.Name) -> None:
    soa = records[origin, SOA]
    serial = (soa[0].serial + 1) % 2**32
    records[origin, SOA] = dns.rdataset.from_rdata_list(soa.ttl, [soa[0].replace(serial=serial)])


def _text(records: Records) -> str:
    """A master file, SOA first and the rest sorted."""
    keys = sorted(records, key=lambda key: (key[1] != SOA, key[0], key[1]))
    return "".join(f"{records[key].to_text(key[0])}\n" for key in keys)


def _parse(text: str, origin: dns.name.Name) -> Records:
    zone = dns.zone.from_text(text, origin=origin, relativize=False)
    return {(name, rdataset.rdtype): rdataset for name, rdataset in zone.iterate_rdatasets()}


def _first_content(origin: dns.name.Name) -> str:
    return (
        f"{origin} 60 IN SOA ns.{origin} hostmaster.{origin} 1 3600 600 86400 5\n"
        f"{origin} 60 IN NS ns.{origin}\n"
        f"ns.{origin} 60 IN A 127.0.0.1\n"
    )
