"""In which part of the world a provider's region lies: for data that must stay there. Pure."""

from __future__ import annotations

import re
from typing import Literal, get_args

Area = Literal["eu", "uk", "us", "canada", "asia", "australia", "other"]
AREAS: tuple[Area, ...] = get_args(Area)

_EU_MEMBERS = "at|be|bg|hr|cy|cz|dk|ee|fi|fr|de|gr|hu|ie|it|lv|lt|lu|mt|nl|pl|pt|ro|sk|si|es|se"

# In this order: the first that fits a region's name, as AWS, Google, Backblaze, GPU providers and
# ISO 3166 write them.
_PATTERNS: tuple[tuple[str, Area], ...] = (
    (r"eu-west-2|europe-west2|gb", "uk"),
    (r"eu-central-2|europe-west6|europe-west12-ch|ch-.*", "other"),  # Zurich
    (r"eu|eur\d+|eu-.*|europe-.*|eusc-.*", "eu"),
    (_EU_MEMBERS, "eu"),
    (r"ca|ca-.*|northamerica-northeast.*", "canada"),
    (r"ap-southeast-(2|4|6)|australia-.*", "australia"),
    (r"us|us-.*|nam\d+", "us"),
    (r"ap-.*|asia|asia-.*|asia\d+|me-.*|il-.*", "asia"),
)


def area_of(region: str) -> Area:
    """The area of a region such as eu-central-1, europe-west4, EU or us-west-004."""
    for pattern, area in _PATTERNS:
        if re.fullmatch(pattern, region.lower()):
            return area
    return "other"
