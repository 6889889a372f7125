"""Config to App: the only place that builds adapters."""

from drkit.wiring.app import App, parse_endpoint

__all__ = ["App", "parse_endpoint"]
