"""Qdrant's JSON on one side, the real engine (qdrant-edge) on the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from drkit.standins.sparse_tar import write_tar

Json = dict[str, Any]
OWN_FILES = {"edge_config.json"}  # the engine's, which a server's snapshot does not hold


class WrongInput(ValueError):
    """What was sent does not fit the collection."""


def open_shard(path: Path, params: Json) -> edge.EdgeShard:
    """The shard in `path`, created where there is none, with the collection's vectors."""
    config = _config(params)
    if (path / "segments").exists():
        return edge.EdgeShard.load(str(path), config)
    path.mkdir(parents=True, exist_ok=True)
    return edge.EdgeShard.create(str(path), config)


def pack_shard(path: Path, target: Path) -> None:
    """A flushed shard as a server streams it: `segments/<id>/files/...` and `wal/...`."""
    members = []
    for found in sorted(path.rglob("*")):
        parts = found.relative_to(path).parts
        if parts[0] in OWN_FILES:
            continue
        if parts[0] == "segments" and len(parts) > 2:
            parts = (*parts[:2], "files", *parts[2:])
        members.append((found, "/".join(parts)))
    write_tar(target, members)


def unpack_shard(snapshot: Path, into: Path, params: Json) -> None:
    """A snapshot's shard in `into`, opened once as proof. Raises `WrongInput`."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    try:
        edge.EdgeShard.unpack_snapshot(str(snapshot), str(into))
        edge.EdgeShard.load(str(into), _config(params)).close()
    except Exception as error:  # the engine raises nothing more exact
        raise WrongInput(f"the snapshot does not fit this collection: {error}") from error


def upsert(shard: edge.EdgeShard, body: Json) -> None:
    points = body.get("points")
    if points is None and (batch := body.get("batch")):
        columns = (batch["ids"], _rows(batch["vectors"]), batch.get("payloads") or [])
        points = [
            {"id": i, "vector": v, "payload": columns[2][n] if n < len(columns[2]) else None}
            for n, (i, v) in enumerate(zip(columns[0], columns[1], strict=True))
        ]
    if not isinstance(points, list):
        raise WrongInput("points or batch is missing")
    made = [edge.Point(p["id"], _vector_in(p["vector"]), p.get("payload")) for p in points]
    shard.update(edge.UpdateOperation.upsert_points(made))


def delete(shard: edge.EdgeShard, body: Json) -> None:
    if "points" in body:
        shard.update(edge.UpdateOperation.delete_points(body["points"]))
    elif "filter" in body:
        shard.update(edge.UpdateOperation.delete_points_by_filter(_filter(body["filter"])))
    else:
        raise WrongInput("points or filter is missing")


def set_payload(shard: edge.EdgeShard, body: Json) -> None:
    operation = edge.UpdateOperation.set_payload(body["points"], body["payload"], body.get("key"))
    shard.update(operation)


def create_index(shard: edge.EdgeShard, body: Json) -> None:
    schema = body.get("field_schema")
    kind = schema.get("type") if isinstance(schema, dict) else schema
    known = getattr(edge.PayloadSchemaType, str(kind).capitalize(), None)
    if known is None:
        raise WrongInput(f"field_schema {kind!r} is unknown")
    shard.update(edge.UpdateOperation.create_field_index(body["field_name"], known))


def count(shard: edge.EdgeShard, body: Json) -> int:
    request = edge.CountRequest(
        exact=body.get("exact", True), filter=_optional_filter(body.get("filter"))
    )
    return int(shard.count(request))


def scroll(shard: edge.EdgeShard, body: Json) -> Json:
    request = edge.ScrollRequest(
        offset=body.get("offset"),
        limit=body.get("limit") or 10,
        filter=_optional_filter(body.get("filter")),
        with_payload=_selected(body.get("with_payload"), default=True),
        with_vector=_selected(body.get("with_vector"), default=False),
    )
    records, following = shard.scroll(request)
    return {"points": [_record(r) for r in records], "next_page_offset": _id(following)}


def retrieve(shard: edge.EdgeShard, body: Json) -> list[Json]:
    records = shard.retrieve(
        body["ids"],
        _selected(body.get("with_payload"), default=True),
        _selected(body.get("with_vector"), default=False),
    )
    return [_record(record) for record in records]


def query(shard: edge.EdgeShard, body: Json) -> Json:
    asked, using = body.get("query"), body.get("using")
    if isinstance(asked, dict) and "nearest" in asked:
        asked = asked["nearest"]
    if isinstance(asked, int | str):
        asked = _vector_of(shard, asked, using)
    if not isinstance(asked, list | dict):
        raise WrongInput("this stand-in answers nearest-vector queries only")
    params = body.get("params") or {}
    request = edge.QueryRequest(
        query=edge.Query.Nearest(_one_vector_in(asked), using=using),
        limit=body.get("limit") or 10,
        offset=body.get("offset"),
        filter=_optional_filter(body.get("filter")),
        score_threshold=body.get("score_threshold"),
        params=edge.SearchParams(
            hnsw_ef=params.get("hnsw_ef"), exact=bool(params.get("exact", False))
        ),
        with_payload=_selected(body.get("with_payload"), default=False),
        with_vector=_selected(body.get("with_vector"), default=False),
    )
    return {
        "points": [
            _record(point) | {"version": point.version, "score": point.score}
            for point in shard.query(request)
        ]
    }


def payload_schema(shard: edge.EdgeShard) -> Json:
    return {
        field: {"data_type": str(info.data_type).rpartition(".")[2].lower(), "points": info.points}
        for field, info in shard.info().payload_schema.items()
    }


def _config(params: Json) -> edge.EdgeConfig:
    vectors = params.get("vectors") or {}
    dense = {"": vectors} if "size" in vectors else vectors
    sparse = params.get("sparse_vectors") or {}
    return edge.EdgeConfig(
        vectors={name: _dense(settings) for name, settings in dense.items()},
        sparse_vectors={name: edge.EdgeSparseVectorParams() for name in sparse},
    )


def _dense(settings: Json) -> edge.EdgeVectorParams:
    distance = getattr(edge.Distance, str(settings.get("distance")), None)
    if distance is None or not isinstance(settings.get("size"), int):
        raise WrongInput("a vector needs its size and a distance: Cosine, Euclid, Dot, Manhattan")
    return edge.EdgeVectorParams(size=settings["size"], distance=distance)


def _vector_of(shard: edge.EdgeShard, point: int | str, using: str | None) -> Any:
    found = shard.retrieve([point], False, True)
    if not found:
        raise WrongInput(f"no point {point}")
    vector = found[0].vector
    return vector[using] if using and isinstance(vector, dict) else vector


def _rows(vectors: Any) -> list[Any]:
    if isinstance(vectors, dict):
        names = list(vectors)
        return [dict(zip(names, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
    return list(vectors)


def _vector_in(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {name: _one_vector_in(value) for name, value in vector.items()}
    return vector


def _one_vector_in(vector: Any) -> Any:
    if isinstance(vector, dict):
        return edge.SparseVector(vector["indices"], vector["values"])
    return vector


def _vector_out(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {name: _vector_out(value) for name, value in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": list(vector.indices), "values": list(vector.values)}
    return vector


def _record(record: Any) -> Json:
    shown: Json = {"id": _id(record.id)}
    if record.payload is not None:
        shown["payload"] = record.payload
    if record.vector is not None:
        shown["vector"] = _vector_out(record.vector)
    return shown


def _id(point: Any) -> int | str | None:
    return str(point) if isinstance(point, UUID) else point


def _selected(given: Any, *, default: bool) -> Any:
    return default if given is None else given


def _optional_filter(given: Json | None) -> edge.Filter | None:
    return _filter(given) if given else None


def _filter(given: Json) -> edge.Filter:
    unknown = set(given) - {"must", "should", "must_not"}
    if unknown:
        raise WrongInput(f"this stand-in's filters know no {sorted(unknown)[0]}")
    clauses = {clause: _conditions(given[clause]) for clause in given if given[clause]}
    return edge.Filter(
        must=clauses.get("must"),
        should=clauses.get("should"),
        must_not=clauses.get("must_not"),
    )


def _conditions(given: Any) -> list[Any]:
    conditions: Iterable[Json] = given if isinstance(given, list) else [given]
    return [_condition(condition) for condition in conditions]


def _condition(given: Json) -> Any:
    if "has_id" in given:
        return edge.HasIdCondition(set(given["has_id"]))
    match, between = given.get("match") or {}, given.get("range")
    if "value" in match:
        return edge.FieldCondition(given["key"], match=edge.MatchValue(match["value"]))
    if "any" in match:
        return edge.FieldCondition(given["key"], match=edge.MatchAny(match["any"]))
    if between:
        return edge.FieldCondition(given["key"], range=edge.RangeFloat(**between))
    raise WrongInput("this stand-in's filters know match value, match any, range and has_id")
