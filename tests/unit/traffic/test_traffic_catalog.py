"""Switches are opened in one namespace, and a drill's never has production's name (R11)."""

from typing import get_args

import pytest

from drkit.config.places import (
    CloudflareSwitch,
    HttpGatewaySwitch,
    OtherSwitch,
    Rfc2136Switch,
    SwitchConfig,
)
from drkit.errors import ConfigError, MissingCredential, NotInThisVersion
from drkit.secrets.interface import Secret
from drkit.traffic.catalog import CREDENTIALS, open_switch


class Everything:
    def resolve(self, reference: tuple[str, ...]) -> Secret:
        return Secret("c2VjcmV0")

    def missing(self, reference: tuple[str, ...]) -> str | None:
        return None


class Nothing(Everything):
    def resolve(self, reference: tuple[str, ...]) -> Secret:
        raise MissingCredential(f"{reference[0]} is nowhere", hint="set it")


def dns(**changes) -> Rfc2136Switch:
    settings = {
        "zone": "example.org",
        "record": "llm.example.org",
        "server": "127.0.0.1",
        "key_name": "drkit",
        "key_secret": "env:TSIG",
    }
    return Rfc2136Switch(kind="rfc2136", **{**settings, **changes})


CLOUDFLARE = CloudflareSwitch(
    kind="cloudflare", zone="example.org", record="llm.example.org", token="env:T"
)


def test_every_kind_of_the_configuration_is_known_with_fields_that_exist() -> None:
    for model in get_args(get_args(SwitchConfig)[0]):
        for kind in get_args(model.model_fields["kind"].annotation):
            assert set(CREDENTIALS[kind]) <= set(model.model_fields)


def test_production_and_drill_have_names_of_their_own() -> None:
    config = dns(drill_record="drill-llm.example.org")
    names = {
        namespace: open_switch("dns", config, Everything(), namespace=namespace).record
        for namespace in ("production", "drill")
    }
    assert names == {"production": "llm.example.org", "drill": "drill-llm.example.org"}
    web = HttpGatewaySwitch(kind="http", url="http://a", drill_url="http://b")
    assert open_switch("gw", web, Everything(), namespace="production").record == "http://a"
    assert open_switch("gw", web, Everything(), namespace="drill").record == "http://b"


@pytest.mark.parametrize(
    "config", [dns(), HttpGatewaySwitch(kind="http", url="http://a"), CLOUDFLARE], ids=str
)
def test_R11_a_drill_without_a_name_of_its_own_has_no_switch(config) -> None:
    assert open_switch("dns", config, Nothing(), namespace="drill") is None


@pytest.mark.parametrize(
    "config",
    [
        dns(drill_record="LLM.example.org."),
        HttpGatewaySwitch(kind="http", url="http://a", drill_url="http://a/"),
    ],
    ids=["dns", "http"],
)
def test_R11_a_drill_name_that_is_productions_is_refused(config) -> None:
    with pytest.raises(ConfigError, match="production's own"):
        open_switch("dns", config, Everything(), namespace="drill")


def test_a_missing_credential_is_named_before_the_missing_adapter() -> None:
    with pytest.raises(MissingCredential, match="env:T"):
        open_switch("dns", CLOUDFLARE, Nothing(), namespace="production")
    with pytest.raises(NotInThisVersion, match="switch cloudflare"):
        open_switch("dns", CLOUDFLARE, Everything(), namespace="production")
    with pytest.raises(NotInThisVersion, match="switch nginx"):
        open_switch("x", OtherSwitch(kind="nginx"), Nothing(), namespace="production")


def test_a_record_outside_its_zone_is_refused_and_one_label_lies_within() -> None:
    with pytest.raises(ConfigError, match="does not lie in the zone"):
        open_switch("d", dns(record="llm.example.com"), Everything(), namespace="production")
    short = open_switch("d", dns(record="llm"), Everything(), namespace="production")
    assert short.record == "llm.example.org"


def test_a_host_name_does_not_fit_into_an_a_record() -> None:
    from drkit.compute.interface import Endpoint
    from drkit.traffic.interface import ToSite

    switch = open_switch("d", dns(), Everything(), namespace="production")
    for host in ("pod-8000.proxy.example.net", "2001:db8::1", "192.0.2.1.nip.io"):
        assert switch.refusal(ToSite("s", Endpoint("https", host, 443)))
    assert switch.refusal(ToSite("s", Endpoint("http", "192.0.2.1", 8000))) is None
