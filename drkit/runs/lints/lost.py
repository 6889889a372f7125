"""Lint: nothing on the way back lies on a site that is gone (R13). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from drkit.config.secret_refs import references
from drkit.config.sources import AnyWeights, QdrantSource, WeightsSource
from drkit.config.stores import FolderArbiter, FolderStore, StoreArbiter, StoreConfig
from drkit.runs.book.plan import leads_to_standby
from drkit.runs.lints.values import USED_BY_RUNS, Finding, Path, Subject
from drkit.runs.records import Effect


def lost_places(subject: Subject) -> Iterator[Finding]:
    """Nothing on the way back lies on a site that is gone (R13)."""
    yield from _lost_stores(subject)
    yield from _lost_movers(subject)
    yield from _lost_qdrant(subject)
    yield from _lost_secrets(subject)
    yield from _lost_targets(subject)
    yield from _lost_standbys(subject)


def _lost_hosts(subject: Subject) -> frozenset[str]:
    config, lost = subject.config, subject.runbook.lost
    urls = [site.endpoint for name, site in config.sites.items() if name in lost]
    urls += [
        source.url
        for source in config.sources.values()
        if isinstance(source, QdrantSource) and source.lives_on in lost
    ]
    return frozenset(host for url in urls if url and (host := urlsplit(url).hostname))


def _leans(subject: Subject, host: str | None) -> bool:
    """Whether a server at `host` is gone with the lost sites."""
    if host is None:
        return False
    return host in _lost_hosts(subject) or (subject.this_machine_is_lost and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _store_leans(subject: Subject, store: StoreConfig) -> bool:
    if isinstance(store, FolderStore):
        return subject.this_machine_is_lost
    return bool(store.endpoint) and _leans(subject, urlsplit(store.endpoint or "").hostname)


def _lost_stores(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    left = [name for name, store in config.stores.items() if not _store_leans(subject, store)]
    if not left:
        yield _lost(("stores",), "every store is gone with what is lost", "add a store elsewhere")
    for name, source in config.sources.items():
        if not isinstance(source, WeightsSource) or not left:
            continue
        if not set(source.stores) & set(left):
            yield _lost(
                ("sources", name, "stores"),
                f"every mirror of {name} is gone with what is lost",
                f"add one of {', '.join(left)}",
            )
    arbiter = config.arbiter
    if isinstance(arbiter, StoreArbiter):
        gone = arbiter.store not in left
    else:
        gone = (arbiter is None or isinstance(arbiter, FolderArbiter)) and (
            subject.this_machine_is_lost
        )
    if gone:
        yield _lost(
            ("arbiter",),
            "the arbiter is gone with what is lost, and nothing may act without it (R1)",
            f"write `arbiter: {{kind: store, store: {left[0] if left else 'NAME'}}}`",
        )


def _lost_movers(subject: Subject) -> Iterator[Finding]:
    for name, switch in subject.config.switch.items():
        url = getattr(switch, "url", None)
        host = urlsplit(url).hostname if url else getattr(switch, "server", None)
        if _leans(subject, host):
            yield _lost(
                ("switch", name, "url" if url else "server"),
                f"{name} at {host} is gone with what is lost, so that traffic cannot be moved",
                "run it on a site of its own, which no runbook takes for lost",
            )


def _lost_qdrant(subject: Subject) -> Iterator[Finding]:
    for name, source in subject.config.sources.items():
        if not isinstance(source, QdrantSource) or source.lives_on not in subject.runbook.lost:
            continue
        if source.restore_to is None:
            yield _lost(
                ("sources", name, "restore_to"),
                f"{name} lives on {source.lives_on}, and there is no Qdrant to restore it to",
                "write `restore_to: {url: URL}` of an empty server on another site",
            )
        elif _leans(subject, urlsplit(source.restore_to.url).hostname):
            yield _lost(
                ("sources", name, "restore_to", "url"),
                f"{name} would be restored to a server that is gone with what is lost",
                "name an empty server on another site",
            )


def _lost_secrets(subject: Subject) -> Iterator[Finding]:
    """A list whose every reference is asked of something that is gone."""
    if not _leans(subject, subject.known.vault_host):
        return
    for path, listed in references(subject.config, only=USED_BY_RUNS):
        if all(each.startswith("vault:") for each in listed):
            yield _lost(
                tuple(path.split(".")),
                f"its secret is asked of {subject.known.vault_host}, which is gone with what is "
                "lost",
                "add a second reference to the list, such as file:/path",
            )


def _lost_standbys(subject: Subject) -> Iterator[Finding]:
    """What a standby serves depends on nothing that is lost: it does not run there, and nothing
    that users own would have to be brought to it, which no step does.
    """
    if not leads_to_standby(subject.runbook):
        return
    standbys = {name: target for name, target in subject.config.targets.items() if target.standby}
    for name, target in standbys.items():
        host = urlsplit(target.endpoint or "").hostname
        if host in _lost_hosts(subject):
            yield _lost(
                ("targets", name, "endpoint"),
                f"the standby {name} is {host}, which is gone with what is lost",
                "name a server on another site",
            )
    if not standbys or any(step.action == "restore" for step in subject.runbook.steps):
        return
    for name, source in subject.config.sources.items():
        if source.lives_on in subject.runbook.lost and not isinstance(source, AnyWeights):
            yield _lost(
                ("sources", name, "lives_on"),
                f"{name} is gone with {source.lives_on}, and a standby would serve without it",
                f"keep {name} on a site that is not lost, or take this runbook out: one that "
                "restores is what you need",
            )


def _lost_targets(subject: Subject) -> Iterator[Finding]:
    """The same account of the same provider may be gone with the site it is needed for."""
    standby = leads_to_standby(subject.runbook)
    if not standby and not subject.has(Effect.PAID):
        return
    lost = [subject.config.sites[name] for name in subject.runbook.lost if _known(subject, name)]
    for name, target in subject.config.targets.items():
        if standby and not target.standby:
            continue
        host = getattr(target.provider, "host", "").rpartition("@")[2]
        if host in _lost_hosts(subject):
            yield _lost(
                ("targets", name, "provider", "host"),
                f"{name} is {host}, which is gone with what is lost",
                "name another host",
            )
        elif any(site.provider == target.provider for site in lost):
            yield Finding(
                "lost-places",
                "warn",
                ("targets", name, "provider"),
                f"{name} is rented from the account that the lost site was rented from",
                "add a target at another provider",
                in_config=True,
            )


def _known(subject: Subject, site: str) -> bool:
    return site in subject.config.sites and subject.config.sites[site].provider is not None


def _lost(at: Path, text: str, instead: str) -> Finding:
    return Finding("lost-places", "refuse", at, text, instead, in_config=True)
