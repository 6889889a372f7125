"""What is protected: trees, weights, Qdrant collections, the output of commands."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from drkit.config.fields import ByteCount, LocalPath, Name, SecretRef, Strict
from drkit.config.regions import Area

HERE = "here"
"""The machine that runs drkit; a site that need not be listed."""


class _Source(Strict):
    lives_on: Name = Field(HERE, description="The site it is on; default: this machine.")
    rpo_min: float | None = Field(None, gt=0, description="Most minutes that may be lost.")
    residency: Area | None = Field(
        None,
        description="Where its data must stay: stores and targets of another region are refused, "
        "and `drkit doctor` compares what is written with where buckets lie.",
    )
    anomaly_percent: float | None = Field(
        50,
        gt=0,
        le=100,
        description="A fall of files or bytes by more, or as much that turned incompressible, is "
        "flagged and holds expiry until `drkit ack`; null: never.",
    )


class TreeSource(_Source):
    """A folder with everything below it."""

    kind: Literal["tree"]
    path: LocalPath
    exclude: tuple[str, ...] = Field((), description="Patterns, as restic's --exclude has them.")
    iexclude: tuple[str, ...] = Field((), description="The same, whatever the case of letters.")
    exclude_file: LocalPath | None = Field(None, description="A file with a pattern a line.")
    exclude_larger_than: ByteCount | None = None
    exclude_caches: bool = Field(False, description="Leave out what lies beside a CACHEDIR.TAG.")
    exclude_if_present: tuple[str, ...] = Field(
        (), description="Leave out what lies beside a file of this name (NAME or NAME:HEADER)."
    )
    one_file_system: bool = Field(False, description="Keep mount points as empty folders.")


class WeightsSource(_Source):
    """A model directory, mirrored as plain files that vLLM can read from a bucket."""

    kind: Literal["weights"]
    mode: Literal["mirror"] = Field(
        "mirror",
        description="`mirror`: plain, in `stores`; `repository`: encrypted, with all else.",
    )
    path: LocalPath
    model: str
    revision: str
    stores: tuple[Name, ...] = Field(min_length=1, description="Stores that hold the mirror.")


class PrivateWeights(TreeSource):
    """A model directory that goes through the repository as a tree does: encrypted, in every store.
    No rented machine can fetch it: only this one has the key (K1).
    """

    kind: Literal["weights"]  # type: ignore[assignment]  # a tree in all but its name
    mode: Literal["repository"]
    model: str | None = None
    revision: str | None = None


AnyWeights = WeightsSource | PrivateWeights
"""What is written once and read only, wherever it lies."""


class QdrantPlace(Strict):
    """A Qdrant server."""

    url: str
    api_key: SecretRef | None = None


class QdrantSource(_Source):
    """The collections of a Qdrant server; all of them unless `collections` names some."""

    kind: Literal["qdrant"]
    url: str
    api_key: SecretRef | None = None
    collections: tuple[str, ...] | None = None
    restore_to: QdrantPlace | None = Field(
        None, description="An empty Qdrant where drills restore, and failovers that lost this one."
    )


class CommandSource(_Source):
    """What a command prints, such as a database dump."""

    kind: Literal["command"]
    argv: tuple[str, ...] = Field(min_length=1)
    cwd: LocalPath = Field(".", description="The folder it runs in; relative: to this file's.")
    filename: str = "output"


def _form_of(written: Any) -> str | None:
    """The tag of a source: its kind, and of weights that do not lie plain their mode."""
    read = written.get if isinstance(written, Mapping) else partial(getattr, written)
    kind, mode = read("kind", None), read("mode", None)
    form = mode if (kind, mode) == ("weights", "repository") else kind
    return form if isinstance(form, str) else None


SourceConfig = Annotated[
    Annotated[TreeSource, Tag("tree")]
    | Annotated[WeightsSource, Tag("weights")]
    | Annotated[PrivateWeights, Tag("repository")]
    | Annotated[QdrantSource, Tag("qdrant")]
    | Annotated[CommandSource, Tag("command")],
    Discriminator(_form_of),
]
