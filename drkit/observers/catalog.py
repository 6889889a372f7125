"""The kinds of observers that this version tells. To add one: its file, a configuration class in
drkit/config/alerts.py, a case here, and a join in tests/conformance/test_observer.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from drkit.config.alerts import CommandObserver, LogObserver, ObserverConfig, WebhookObserver
from drkit.observers.interface import Observer
from drkit.secrets.interface import Secrets


def open_observer(name: str, config: ObserverConfig, secrets: Secrets, *, folder: Path) -> Observer:
    """The observer; `folder` is where a command runs. Raises `MissingCredential`."""
    match config:
        case LogObserver():
            from drkit.observers.log import LogFile

            return LogFile(name, Path(config.path))
        case WebhookObserver():
            from drkit.observers.webhook import Webhook

            token = secrets.resolve(config.token) if config.token else None
            return Webhook(name, config.url, token=token, trust=config.trust)
        case CommandObserver():
            from drkit.observers.command import Command

            return Command(name, config.argv, folder=folder)
        case _:
            assert_never(config)
