"""The report a run leaves: what was lost, where it came up, whether it works, how long it took.

`build_evidence` is pure; the renderers turn its value into a page, a JSON file and terminal lines.
"""

from __future__ import annotations

from drkit.runs.evidence.as_html import evidence_html
from drkit.runs.evidence.as_json import evidence_json
from drkit.runs.evidence.as_lines import evidence_lines
from drkit.runs.evidence.build import build_evidence
from drkit.runs.evidence.values import Evidence, Verdict

__all__ = [
    "Evidence",
    "Verdict",
    "build_evidence",
    "evidence_html",
    "evidence_json",
    "evidence_lines",
]
