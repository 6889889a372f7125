"""Witnesses: those that the deployment asks, and the one that this machine is."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drkit.clock import Clock
from drkit.config.witness import WitnessConfig, WitnessTarget
from drkit.errors import ConfigError, DrkitError
from drkit.events import Emit, Note
from drkit.health.interface import ServiceState
from drkit.health.probes.reference import reach
from drkit.health.probes.round import HttpProber
from drkit.health.witness.asking import Heard, Voice, WitnessPlace, hear
from drkit.health.witness.file_memory import FileMemory
from drkit.health.witness.sentry import Sentry
from drkit.health.witness.server import WitnessServer
from drkit.health.witness.signing import SigningKey, open_signing_key
from drkit.secrets.catalog import open_secrets
from drkit.secrets.interface import Secrets
from drkit.wiring.app import App, parse_endpoint


def hear_witnesses(app: App, site: str) -> tuple[Heard, ...]:
    """What the configured witnesses say now of the service at `site`; () without any."""
    if app.config.service is None:
        return ()
    places, unheard = {}, []
    for name, witness in app.config.decide.witnesses.items():
        try:
            token = app.secrets.resolve(witness.token).reveal()
        except DrkitError as error:
            unheard.append(Heard(name, Voice.SILENT, error.message))
            continue
        places[name] = WitnessPlace(witness.url, token, witness.verifying_key, witness.trust)
    heard = hear(places, service=app.config.service.name, site=site, clock=app.clock)
    return (*heard, *unheard)


@dataclass(frozen=True, slots=True)
class OpenWitness:
    """A witness that listens. `verifying_key` is to be configured wherever it is asked."""

    verifying_key: str
    port: int


def witness_key(config: WitnessConfig) -> SigningKey:
    """The key it signs with, made now if this is the first time."""
    return open_signing_key(Path(config.state) / "signing-key")


@contextmanager
def open_witness(
    config: WitnessConfig, root: Path, *, clock: Clock, emit: Emit
) -> Iterator[OpenWitness]:
    """Watches and answers until the block ends. `config` names absolute paths."""
    secrets = open_secrets(root)
    key = witness_key(config)
    sentries = {
        name: _sentry(name, watched, config, secrets, clock)
        for name, watched in config.watches.items()
    }
    server = _listening(config, sentries, secrets, key, clock)
    stopping = threading.Event()
    threads = [threading.Thread(target=server.serve_forever, daemon=True)]
    for sentry in sentries.values():
        make_rounds = partial(_watch, sentry, config, stopping, emit)
        threads.append(threading.Thread(target=make_rounds, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield OpenWitness(key.verifying, server.port)
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()


def _sentry(
    name: str, watched: WitnessTarget, config: WitnessConfig, secrets: Secrets, clock: Clock
) -> Sentry:
    def api_key() -> str | None:
        return secrets.resolve(watched.api_key).reveal() if watched.api_key else None

    return Sentry(
        service=name,
        site=watched.site,
        endpoint=parse_endpoint(watched.endpoint),
        model=watched.model,
        api_key=api_key,
        prober=HttpProber(
            clock,
            completion_timeout_s=config.probe.completion_timeout,
            dialect=watched.server,
        ),
        reach=reach,
        reference_hosts=config.reference_hosts,
        settings=config.probe,
        memory=FileMemory(Path(config.state) / "seen"),
        clock=clock,
    )


def _listening(
    config: WitnessConfig,
    sentries: dict[str, Sentry],
    secrets: Secrets,
    key: SigningKey,
    clock: Clock,
) -> WitnessServer:
    token = secrets.resolve(config.token).reveal()
    try:
        return WitnessServer(
            config.host,
            config.port,
            sentries=sentries,
            token=token,
            key=key,
            clock=clock,
            tls=_tls(config),
        )
    except OSError as error:
        raise ConfigError(
            f"the witness cannot listen on {config.listen}: {error.strerror or error}",
            hint="give it another address or port in `listen`, or stop what listens there",
        ) from error


def _tls(config: WitnessConfig) -> ssl.SSLContext | None:
    if config.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{config.tls.certificate} with {config.tls.key} is no certificate with its key: "
            f"{error}",
            hint="name two PEM files that belong together, and let this user read them",
        ) from error
    return context


def _watch(sentry: Sentry, config: WitnessConfig, stopping: threading.Event, emit: Emit) -> None:
    """Rounds until it stops. One that fails here (a secret, the disk) is told and made again."""
    state: ServiceState | None = None
    while not stopping.is_set():
        pause_s = config.every
        try:
            after = sentry.round().state
            if after is not state:
                before = state.value if state else "not watched"
                emit(Note("info", sentry.service, f"{before} -> {after.value}"))
            state = after
            if state is ServiceState.SUSPECT:
                pause_s = min(pause_s, config.probe.suspect_every)
        except (DrkitError, OSError) as error:
            emit(Note("error", sentry.service, f"no round could be made: {error}"))
        stopping.wait(pause_s)
