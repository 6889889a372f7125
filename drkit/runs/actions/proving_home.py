"""Is home the real thing? Its model by its own address, and whatever came home, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

from drkit.config.places import Service
from drkit.repository.restore.lawful import erased_in
from drkit.runs.actions.destination import destination_of
from drkit.runs.actions.interface import Context, StepCall
from drkit.runs.actions.places import Move, TreeMove, VectorMove, moves_of
from drkit.runs.actions.point import find_point
from drkit.verify.golden import verify_golden
from drkit.verify.proof import Proof
from drkit.verify.qdrant import verify_qdrant
from drkit.verify.trees import verify_tree


def proofs_of_home(call: StepCall, context: Context, service: Service) -> Iterator[Proof]:
    """Golden answers where the point has some; each source where it was swapped in. The weights of
    a primary are on its own disk: its answers are what can be proved of them.
    """
    there = destination_of(call, context)
    if not call.arguments.get("snapshot"):
        return
    found = find_point(context, call.text("snapshot"))
    if found.point.golden is not None:
        yield verify_golden(
            found.point.golden, there.endpoint, model=service.model, api_key=context.api_key()
        )
    for move in moves_of(call, context):
        yield from _moved(call, context, move)


def _moved(call: StepCall, context: Context, move: Move) -> Iterator[Proof]:
    found = find_point(context, call.text("snapshot"))
    part = found.point.sources[move.name]
    match move:
        case TreeMove():
            repository, snapshot = context.repository(), found.listed.snapshot
            yield verify_tree(
                repository,
                repository.find_node(snapshot, part.path),
                move.home,
                subject=move.name,
                emit=context.emit,
                left_out=erased_in(repository, snapshot, part.path),
            )
        case VectorMove():
            yield from verify_qdrant(part.facts, move.home_url, move.home_key, names=move.new)
