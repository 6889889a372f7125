"""What is looked at around the service, its limits, and who is told: built for the deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from drkit.compute.interface import Endpoint
from drkit.config.places import GatewayStats, HttpGatewaySwitch, Service
from drkit.config.sources import QdrantSource, TreeSource
from drkit.errors import DrkitError
from drkit.health.around.canary import QdrantCanary
from drkit.health.around.exporters import StatsFields, read_gpu, read_stats
from drkit.health.around.places import read_provider, read_store, read_tree
from drkit.health.around.readings import Reader, Reading, not_measured
from drkit.health.around.tls import read_tls
from drkit.health.interface import Memory
from drkit.health.measures.default_limits import limits_of
from drkit.health.measures.history import scrapes_from, with_scrape
from drkit.health.measures.limits import Standing
from drkit.health.measures.window import Measure
from drkit.health.scrape import Scrape
from drkit.observers.catalog import open_observer
from drkit.observers.interface import Alert
from drkit.operations.alerts.alerts import AlertBook, Told
from drkit.operations.alerts.around import Seen, look_around
from drkit.operations.alerts.exposition import exposition, write_exposition
from drkit.operations.alerts.measures import measures_of, words_of
from drkit.operations.watch.watch import Watch, Watched
from drkit.wiring.app import App, parse_endpoint


@dataclass(frozen=True, slots=True)
class Attended:
    """After a round: what lies around the service, all that was measured, and which alerts began
    or ended. `untold`: what could not be told to whom, in words.
    """

    seen: tuple[Seen, ...]
    measures: Mapping[str, Measure]
    changes: tuple[Alert, ...]
    untold: tuple[str, ...]


def attend(app: App, watch: Watch, watched: Watched, *, everything: bool, tells: bool) -> Attended:
    """Looks around, judges the limits, and tells who is to be told. Moves nothing.

    `everything`: also what was looked at a short while ago. `tells`: this machine is the one that
    alerts; another one only looks.
    """
    counted: list[Scrape] = []
    quick, slow = _readers(app, watch, watched, counted)
    seen = look_around(
        quick,
        slow,
        service=watch.service,
        every_s=app.config.probe.slow_every,
        everything=everything,
        memory=watch.memory,
        clock=app.clock,
    )
    readings = [each.reading for each in seen]
    measures = measures_of(
        watch.scrapes(watched.endpoint.url),
        _gateway_scrapes(watch, counted),
        readings,
        watched.health,
        watch.tallies(),
        window_s=app.config.alerts.window,
        now_s=app.clock.elapsed_s(),
        now=app.clock.now(),
    )
    if not tells:
        return Attended(seen, measures, (), _exposed(app, watched, seen, measures, ()))
    limits = limits_of(app.config.alerts.limits, [each.result.probe for each in readings])
    book = alert_book(app, watch.service)
    told, untold = _told(app)
    words = words_of(readings, watched.observation, watched.health)
    changes = book.judge(limits, measures, told, words=words)
    exposed = _exposed(app, watched, seen, measures, book.standing())
    return Attended(seen, measures, changes, (*exposed, *untold, *book.deliver(told)))


def alert_book(app: App, service: str) -> AlertBook:
    return AlertBook(app.database, service, app.clock, host=app.hostname, sandbox=app.sandbox)


def _exposed(
    app: App,
    watched: Watched,
    seen: tuple[Seen, ...],
    measures: Mapping[str, Measure],
    standing: tuple[tuple[str, Standing], ...],
) -> tuple[str, ...]:
    """Writes the metrics file, if one is wanted; what went wrong, in words."""
    path, service = app.config.alerts.prometheus, app.config.service
    if path is None or service is None:
        return ()
    text = exposition(
        service.name,
        health=watched.health,
        probes=[*watched.observation.results, *(each.reading.result for each in seen)],
        measures=measures,
        standing=standing,
        at=watched.observation.at,
    )
    try:
        write_exposition(Path(path), text)
    except OSError as error:
        return (f"{path} cannot be written: {error.strerror or error}",)
    return ()


def _told(app: App) -> tuple[list[Told], list[str]]:
    """The observers that can be opened, and why others cannot."""
    told, untold = [], []
    for name, config in app.config.alerts.observers.items():
        try:
            observer = open_observer(name, config, app.secrets, folder=app.root)
        except DrkitError as error:
            untold.append(f"{name}: {error.message}")
            continue
        told.append(Told(observer, config.least))
    return told, untold


def _readers(
    app: App, watch: Watch, watched: Watched, counted: list[Scrape]
) -> tuple[dict[str, Reader], dict[str, Reader]]:
    """(each round, now and then), by what they call themselves."""
    config, clock = app.config, app.clock
    slow: dict[str, Reader] = {
        f"tls {place}": partial(read_tls, place, clock.now())
        for place in _tls_places(app, watched.endpoint)
    }
    if not slow:
        slow["tls"] = partial(not_measured, "tls", "no certificate to watch; `probe.tls` names one")
    for name, source in config.sources.items():
        if isinstance(source, QdrantSource):
            slow[f"qdrant {name}"] = partial(_canary, app, watch.memory, name, source)
        elif isinstance(source, TreeSource):
            slow[f"tree {name}"] = partial(read_tree, name, Path(source.path))
    for name in config.stores:
        slow[f"store {name}"] = partial(read_store, name, partial(app.store_alone, name))
    site = config.sites.get(watched.site) or config.targets.get(watched.site)
    if site is not None and site.provider is not None:
        slow[f"provider {watched.site}"] = partial(
            read_provider,
            watched.site,
            partial(app.compute, watched.site),
            watched.endpoint,
            getattr(site, "instance", None),
        )
    quick: dict[str, Reader] = {"gpu": partial(_gpu, app, watched.site)}
    if _counting_gateway(app) is not None:
        quick["gateway stats"] = partial(_statistics, app, counted)
    return quick, slow


def _tls_places(app: App, endpoint: Endpoint) -> list[str]:
    places = list(app.config.probe.tls)
    urls = [endpoint.url] if endpoint.scheme == "https" else []
    urls += [
        switch.url
        for switch in app.config.switch.values()
        if isinstance(switch, HttpGatewaySwitch) and switch.url.startswith("https:")
    ]
    for url in urls:
        place = urlsplit(url).netloc
        if place not in places:
            places.append(place)
    return places


def _canary(app: App, memory: Memory, name: str, source: QdrantSource) -> Reading:
    key = app.secrets.resolve(source.api_key).reveal() if source.api_key else None
    return QdrantCanary(
        name,
        parse_endpoint(source.url),
        api_key=key,
        collections=source.collections,
        memory=memory,
        clock=app.clock,
    ).read()


def _gpu(app: App, site: str) -> Reading:
    service: Service | None = app.config.service
    if app.config.probe.gpu is None:
        return not_measured("gpu", "no exporter is configured: `probe.gpu`")
    if service is not None and site != service.primary:
        return not_measured("gpu", f"the exporter is on {service.primary}, and {site} serves")
    path = urlsplit(app.config.probe.gpu).path
    return read_gpu(parse_endpoint(app.config.probe.gpu), path, app.clock)


def _counting_gateway(app: App) -> tuple[HttpGatewaySwitch, GatewayStats] | None:
    for switch in app.config.switch.values():
        if isinstance(switch, HttpGatewaySwitch) and switch.stats is not None:
            return switch, switch.stats
    return None


def _statistics(app: App, counted: list[Scrape]) -> Reading:
    found = _counting_gateway(app)
    assert found is not None
    switch, stats = found
    token = app.secrets.resolve(switch.token).reveal() if switch.token else None
    fields = StatsFields(
        stats.path,
        stats.requests,
        stats.fallbacks,
        stats.failures,
        stats.confidence,
        stats.p95_ms,
        stats.p99_ms,
    )
    reading, scrape = read_stats(parse_endpoint(switch.url), fields, token, app.clock)
    if scrape is not None:
        counted.append(scrape)
    return reading


def _gateway_scrapes(watch: Watch, counted: list[Scrape]) -> tuple[Scrape, ...]:
    """What the gateway counted of late, with what it said now."""
    name, now_s = f"gateway/{watch.service}", watch.clock.elapsed_s()
    rows = with_scrape(watch.memory.recall(name), counted[0] if counted else None, now_s)
    watch.memory.remember(name, rows)
    return scrapes_from(rows, now_s)
