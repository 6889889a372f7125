"""`drkit witness`: a second point of view, on another host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drkit.cli.options import DEFAULT_CONFIG, command
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def witness(
    session: Session,
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print the verifying key, and end.")
    ] = False,
) -> int:
    """Watches services from this host and tells those who have the token, signed.

    Reads witness.yaml (or --config); knows nothing else. docs/how-to/witness.md
    """
    import signal
    import sys
    import threading

    from drkit.clock import SystemClock
    from drkit.config.load import load_document
    from drkit.config.local_paths import with_absolute_paths
    from drkit.config.witness import WitnessConfig
    from drkit.wiring.witness import open_witness, witness_key

    given = session.config_path
    path = Path("witness.yaml") if given == DEFAULT_CONFIG else given
    root = path.parent.resolve()
    written = load_document(
        path,
        WitnessConfig,
        absent="write one as docs/how-to/witness.md shows, or name it: --config FILE",
        invalid="docs/how-to/witness.md has everything that is accepted",
    )
    config = with_absolute_paths(written, root)
    session.state_dir = Path(config.state)
    if show_key:
        key = witness_key(config).verifying
        session.terminal.result("witness", {"verifying_key": key}, key)
        return 0
    stopped = threading.Event()
    with open_witness(config, root, clock=SystemClock(), emit=session.terminal.emit) as opened:
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        watched = ", ".join(config.watches)
        session.terminal.result(
            "witness",
            {"listen": f"{config.host}:{opened.port}", "verifying_key": opened.verifying_key},
            f"watches {watched}; answers on {config.host}:{opened.port}; "
            f"verifying_key: {opened.verifying_key}",
        )
        sys.stdout.flush()
        stopped.wait()
    return 0
