"""Is what came back the real thing? Every proof that can be made, made; then the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from drkit.compute.interface import Endpoint, Instance
from drkit.config.places import Service
from drkit.config.sources import TreeSource
from drkit.errors import ConfigError, DrkitError
from drkit.points.find import FoundPoint, choose_point, list_points
from drkit.repository.restore.lawful import erased_in
from drkit.runs.actions.deploy import endpoint_of
from drkit.runs.actions.destination import destination_of, is_standby
from drkit.runs.actions.interface import Context, ProofsFailed, StepCall
from drkit.runs.actions.point import find_point
from drkit.runs.actions.proving_home import proofs_of_home
from drkit.runs.actions.tickets import find_weights, weights_source
from drkit.runs.actions.vectors import prove_restored
from drkit.runs.records import JSON
from drkit.verify.golden import verify_golden
from drkit.verify.proof import Proof
from drkit.verify.trees import verify_tree
from drkit.verify.weights import verify_weights


def prove_target(call: StepCall, context: Context) -> tuple[Endpoint, tuple[Proof, ...]]:
    """Proves instance, weights, answers and every restored source; the endpoint that was proven.

    Arguments of the step: instance, snapshot, restored; or standby. Raises `ProofsFailed`, whose
    message names the files that are wrong; proofs that could not be made count as failed.
    """
    service = context.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    endpoint, made = _begin(call, context, service)
    proofs = []
    for proof in made:
        proofs.append(proof)
        call.guard.pause(0)
    if failed := [proof for proof in proofs if not proof.passed]:
        raise ProofsFailed(
            f"{len(failed)} of {len(proofs)} proofs failed: {'; '.join(map(_words, failed))}",
            hint="nothing was pointed at it; `drkit runs show` has every proof",
            proofs=proofs,
        )
    return endpoint, tuple(proofs)


def _begin(call: StepCall, context: Context, service: Service) -> tuple[Endpoint, Iterator[Proof]]:
    """What is to be proved, by its own address, and the proofs to be made of it."""
    if context.plan.kind == "failback":
        home = destination_of(call, context).endpoint
        identity = _prove_identity(context, service, home)
        return home, chain([identity], proofs_of_home(call, context, service))
    if is_standby(call):
        standby = destination_of(call, context).endpoint
        return standby, _proofs_of_standby(call, context, service, standby)
    instance, endpoint = endpoint_of(context, call.text("instance"))
    found = find_point(context, call.text("snapshot"))
    return endpoint, _proofs(call, context, service, found, instance, endpoint)


def _proofs(
    call: StepCall,
    context: Context,
    service: Service,
    found: FoundPoint,
    instance: Instance,
    endpoint: Endpoint,
) -> Iterator[Proof]:
    yield _prove_identity(context, service, endpoint)
    yield _prove_weights(context, found, instance)
    if found.point.golden is not None and _is_lower_tier(context, instance):
        text = f"golden answers are not compared: {instance.offer.gpu} is a lower tier"
        call.guard.note({"text": text})
    elif found.point.golden is not None:
        yield verify_golden(
            found.point.golden, endpoint, model=service.model, api_key=context.api_key()
        )
    restored = call.arguments.get("restored")
    brought = restored if isinstance(restored, dict) else {}
    for name in found.point.sources:
        if isinstance(place := brought.get(name), dict):
            yield from _prove_source(context, found, name, place)
        else:
            yield from _prove_in_place(context, name)


def _proofs_of_standby(
    call: StepCall, context: Context, service: Service, endpoint: Endpoint
) -> Iterator[Proof]:
    """Nothing was brought to it: it answers as the model, gives the golden answers of the newest
    point, and what its users own is where it was. Its weights are on its own disk.
    """
    yield _prove_identity(context, service, endpoint)
    role = context.arbiter.read_role(context.plan.service)
    point = choose_point(list_points(context.repository()), "latest", role=role).point
    tiers = {each.tier for each in context.config.targets[context.plan.target].candidates}
    if point.golden is None:
        call.guard.note({"text": "golden answers are not compared: the newest point has none"})
    elif tiers == {"lower"}:
        text = f"golden answers are not compared: {context.plan.target} is a lower tier"
        call.guard.note({"text": text})
    else:
        yield verify_golden(point.golden, endpoint, model=service.model, api_key=context.api_key())
    for name in point.sources:
        yield from _prove_in_place(context, name)


def _is_lower_tier(context: Context, instance: Instance) -> bool:
    """Whether the configuration says that this kind of machine may answer otherwise."""
    offer = instance.offer
    return any(
        candidate.tier == "lower"
        and (candidate.gpu, candidate.region, candidate.quantization)
        == (offer.gpu, offer.region, offer.quantization)
        for candidate in context.config.targets[context.plan.target].candidates
    )


def _prove_identity(context: Context, service: Service, endpoint: Endpoint) -> Proof:
    """The server answers with tokens, and names the model that it is to be (H5)."""
    seen = context.prober.observe(endpoint, model=service.model, api_key=context.api_key())
    if not seen.alive:
        why = "; ".join(f"{each.probe}: {each.detail}" for each in seen.results)
        return Proof("answers", endpoint.url, False, why)
    if seen.answered_by != service.model:
        detail = f"{seen.answered_by or 'nobody'} answered instead of {service.model}"
        return Proof("answers", endpoint.url, False, detail)
    return Proof("answers", endpoint.url, True, f"{service.model} answered with tokens")


def _prove_weights(context: Context, found: FoundPoint, instance: Instance) -> Proof:
    """Byte by byte where this machine can read them; else by what the bootstrap checked."""
    service = context.config.service
    part = found.point.weights.get(service.weights or "") if service else None
    try:
        manifest, _ = find_weights(context, part.manifest_digest if part else None)
    except DrkitError as error:
        return Proof("weights SHA-256", weights_source(context.config).model, False, error.message)
    if instance.model_dir is None:
        return Proof(
            "weights SHA-256",
            manifest.model,
            True,
            f"every byte was checked against manifest {manifest.digest[:12]} before the start",
        )
    return verify_weights(manifest, instance.model_dir, context.emit)


def _prove_source(
    context: Context, found: FoundPoint, name: str, place: dict[str, JSON]
) -> Iterator[Proof]:
    part = found.point.sources[name]
    repository = context.repository()
    node = repository.find_node(found.listed.snapshot, part.path)
    root = Path(str(place["into"]))
    erased = erased_in(repository, found.listed.snapshot, part.path)
    yield verify_tree(repository, node, root, subject=name, emit=context.emit, left_out=erased)
    if part.kind == "qdrant" and place.get("url"):
        yield from prove_restored(context, name, part.facts)


def _prove_in_place(context: Context, name: str) -> Iterator[Proof]:
    """What was not lost stays where it is; it has to be there."""
    source = context.config.sources.get(name)
    if isinstance(source, TreeSource):
        there = Path(source.path).is_dir()
        detail = f"{source.path} is in place" if there else f"{source.path} is not there"
        yield Proof("in place", name, there, detail)


def _words(proof: Proof) -> str:
    files = ", ".join(proof.files[:5])
    more = f" and {len(proof.files) - 5} more" if len(proof.files) > 5 else ""
    return f"{proof.check} of {proof.subject}: {proof.detail}" + (
        f" ({files}{more})" if files else ""
    )
