"""Keep-rules as they are typed (restic's options) and as the configuration has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from drkit.cli.options import of_option
from drkit.repository.forget.retention import PERIODS, KeepRules, Span, read_count, read_span
from drkit.repository.trees.select import read_tags

if TYPE_CHECKING:
    from drkit.config.stores import Keep


def typed_rules(
    counts: Mapping[str, str | None],
    within: Mapping[str, str | None],
    tags: Sequence[str] | None,
) -> KeepRules:
    """The rules of --keep-last and the like. Raises `ConfigError` for what is no count or span."""
    return KeepRules(
        {
            period: of_option(f"--keep-{period}", read_count, text)
            for period, text in counts.items()
            if text is not None
        },
        {
            period: of_option(f"--keep-within-{period}".rstrip("-"), read_span, text)
            for period, text in within.items()
            if text is not None
        },
        tuple(read_tags(text) for text in tags or ()),
    )


def configured_rules(keep: Keep) -> KeepRules:
    """The rules of one store in schedules.yaml."""
    spans = {"": keep.within} | {p: getattr(keep, f"within_{p}") for p in PERIODS[1:]}
    return KeepRules(
        {period: count for period in PERIODS if (count := getattr(keep, period))},
        {
            period: Span(days=int(seconds // 86400), hours=seconds % 86400 / 3600)
            for period, seconds in spans.items()
            if seconds
        },
        tuple(read_tags(text) for text in keep.tags),
    )
