"""One invocation of drkit: what was asked for, and where to answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drkit.cli.terminal.output import Terminal
    from drkit.config.models import Config


@dataclass(slots=True)
class Session:
    """One invocation: what was asked for in the shared options, and where to answer."""

    config_path: Path
    sandbox: bool
    json_lines: bool
    verbosity: int
    dry_run: bool
    terminal: Terminal
    state_dir: Path
    """Where a log of an unexpected error goes; wiring sets it once it knows better."""
    retry_lock_s: float | None = None
    """How long a lock that somebody else holds is tried again; None: the command takes none."""

    @property
    def root(self) -> Path:
        """The folder of the configuration file, which its relative paths are below."""
        return self.config_path.parent.resolve()

    def load_config(self) -> Config:
        """The deployment as it is written, before any mapping. Raises `ConfigError`."""
        from drkit.config.load import load_config
        from drkit.config.local_paths import with_absolute_paths

        config = load_config(self.config_path)
        self.state_dir = Path(with_absolute_paths(config.state, self.root).path)
        return config
