"""JSON that other parts wrote, read with care: a value of another type counts as absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from drkit.runs.records import JSON


class Output:
    """One JSON object. Every reader answers with nothing for what is absent or of another type."""

    def __init__(self, value: JSON) -> None:
        self._values: Mapping[str, JSON] = value if isinstance(value, Mapping) else {}

    def text(self, *keys: str) -> str:
        """The first of `keys` that holds text."""
        for key in keys:
            if isinstance(value := self._values.get(key), str):
                return value
        return ""

    def number(self, key: str) -> float | None:
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value)

    def whole(self, key: str) -> int | None:
        value = self.number(key)
        return None if value is None else int(value)

    def flag(self, key: str) -> bool:
        return self._values.get(key) is True

    def moment(self, key: str) -> datetime | None:
        """A moment with a time zone, written in ISO 8601."""
        try:
            moment = datetime.fromisoformat(self.text(key))
        except ValueError:
            return None
        return moment if moment.tzinfo else None

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(item for item in self._list(key) if isinstance(item, str))

    def each(self, key: str) -> Iterator[Output]:
        """The objects in a list."""
        return (Output(item) for item in self._list(key) if isinstance(item, Mapping))

    def parts(self, key: str) -> Iterator[tuple[str, Output]]:
        """The members of an object, each as an object."""
        value = self._values.get(key)
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield str(name), Output(inner)

    def _list(self, key: str) -> Sequence[JSON]:
        value = self._values.get(key)
        return value if isinstance(value, list | tuple) else ()
