"""Kinds are a closed list; those without an adapter are refused, after their credentials."""

from typing import get_args

import pytest

from drkit.clock import ManualClock
from drkit.compute.catalog import CREDENTIALS, open_compute
from drkit.compute.local import LocalCompute
from drkit.config.places import LambdaProvider, LocalProvider, ProviderConfig
from drkit.errors import MissingCredential, NotInThisVersion
from drkit.secrets.interface import Secret


class Known:
    def __init__(self, *names: str) -> None:
        self._names = names

    def resolve(self, reference: tuple[str, ...]) -> Secret:
        if reference[0] in self._names:
            return Secret("text")
        raise MissingCredential(f"{reference[0]} is nowhere", hint="set it")

    def missing(self, reference: tuple[str, ...]) -> str | None:
        return None if reference[0] in self._names else "nowhere"


LAMBDA = LambdaProvider(kind="lambda", api_key="env:KEY", ssh_key_name="k")


def test_every_kind_of_the_configuration_is_known_with_fields_that_exist() -> None:
    kinds = get_args(get_args(ProviderConfig)[0])
    by_kind = {get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in kinds}
    assert set(CREDENTIALS) == set(by_kind)
    for kind, fields in CREDENTIALS.items():
        assert set(fields) <= set(by_kind[kind].model_fields)


def test_a_missing_credential_is_named_before_the_missing_adapter() -> None:
    with pytest.raises(MissingCredential, match="env:KEY"):
        open_compute(LAMBDA, Known(), clock=ManualClock())


def test_a_kind_without_an_adapter_is_refused() -> None:
    with pytest.raises(NotInThisVersion, match="not in this version: compute provider lambda"):
        open_compute(LAMBDA, Known("env:KEY"), clock=ManualClock())


def test_local_is_opened(tmp_path) -> None:
    config = LocalProvider(kind="local", path=str(tmp_path), host="127.0.0.1", argv=("true",))
    assert isinstance(open_compute(config, Known(), clock=ManualClock()), LocalCompute)
