"""Probes against servers that hang, drip, lie, or answer for somebody else."""

from collections.abc import Iterator

import pytest
from listening import free_port
from model_servers import MODEL, Server, serving

from drkit.clock import SystemClock
from drkit.compute.interface import Endpoint
from drkit.health.interface import Observation, Verdict
from drkit.health.probes.round import HttpProber


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def endpoint(server: Server) -> Iterator[Endpoint]:
    with serving(server) as endpoint:
        yield endpoint


def observe(endpoint: Endpoint, *, timeout_s: float = 5, api_key: str | None = None) -> Observation:
    prober = HttpProber(SystemClock(), completion_timeout_s=timeout_s)
    return prober.observe(endpoint, model=MODEL, api_key=api_key)


def verdicts(observation: Observation) -> dict[str, Verdict]:
    return {result.probe: result.verdict for result in observation.results}


def test_a_server_that_answers_for_itself_is_alive(endpoint, server) -> None:
    seen = observe(endpoint, api_key="key")
    assert seen.alive
    assert seen.answered_by == MODEL
    assert seen.endpoint_url == endpoint.url
    timed = [result for result in seen.results if result.probe != "progress"]
    assert all(result.latency_s is not None for result in timed)
    assert verdicts(seen)["progress"] is Verdict.PASSED
    assert server.asked[0]["max_tokens"] == 1
    assert server.headers[-1]["Authorization"] == "Bearer key"
    assert "Authorization" not in server.headers[0], "liveness needs no key and gets none"


def test_every_round_asks_something_new(endpoint, server) -> None:
    for _ in range(3):
        observe(endpoint)
    assert len({each["prompt"] for each in server.asked}) == 3


def test_nobody_there_is_one_failure_and_nothing_else_is_claimed() -> None:
    seen = observe(Endpoint("http", "127.0.0.1", free_port()))
    assert not seen.alive
    assert verdicts(seen) == {
        "liveness": Verdict.FAILED,
        "identity": Verdict.NOT_MEASURED,
        "completion": Verdict.NOT_MEASURED,
    }


def test_H1_health_alone_proves_nothing_when_the_engine_hangs(endpoint, server) -> None:
    server.hangs = True
    seen = observe(endpoint, timeout_s=0.3)
    assert verdicts(seen)["liveness"] is Verdict.PASSED
    assert verdicts(seen)["completion"] is Verdict.FAILED
    assert verdicts(seen)["progress"] is Verdict.FAILED
    assert not seen.alive


def test_H1_a_server_of_another_model_at_the_address_is_not_the_service(endpoint, server) -> None:
    server.models = ["other"]
    seen = observe(endpoint)
    assert verdicts(seen)["identity"] is Verdict.FAILED
    assert not seen.alive


def test_H2_tokens_that_still_come_veto_a_completion_that_timed_out(endpoint, server) -> None:
    server.hangs, server.tokens_per_read = True, 7
    seen = observe(endpoint, timeout_s=0.3)
    assert verdicts(seen)["completion"] is Verdict.NOT_MEASURED
    assert verdicts(seen)["progress"] is Verdict.PASSED
    assert Verdict.FAILED not in verdicts(seen).values()
    assert not seen.alive, "it is no proof of health either"


def test_H4_without_counters_progress_is_not_measured_and_the_timeout_counts(
    endpoint, server
) -> None:
    server.hangs, server.tokens = True, None
    seen = observe(endpoint, timeout_s=0.3)
    assert verdicts(seen)["completion"] is Verdict.FAILED
    assert verdicts(seen)["progress"] is Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": {"completion_tokens": 1}},
        {"model": None, "usage": {"completion_tokens": 1}},
        ["not", "an", "object"],
    ],
    ids=str,
)
def test_H5_an_answer_that_names_no_model_does_not_count(endpoint, server, answer) -> None:
    server.answer = answer
    seen = observe(endpoint)
    assert not seen.alive
    assert seen.answered_by is None


def test_H5_a_gateway_that_fell_back_does_not_count_and_says_who_answered(endpoint, server) -> None:
    server.answer = {"model": "external-model", "usage": {"completion_tokens": 1}}
    seen = observe(endpoint)
    assert not seen.alive
    assert seen.answered_by == "external-model"


@pytest.mark.parametrize(
    ("field", "value", "failed"),
    [
        ("health", 503, "liveness"),
        ("status", 500, "completion"),
        ("status", 401, "completion"),
        ("answer", {"model": MODEL, "usage": {"completion_tokens": 0}}, "completion"),
        ("answer", {"model": MODEL}, "completion"),
    ],
)
def test_what_is_wrong_is_named(endpoint, server, field, value, failed) -> None:
    setattr(server, field, value)
    seen = observe(endpoint)
    assert not seen.alive
    assert [probe for probe, each in verdicts(seen).items() if each is Verdict.FAILED] == [failed]


def test_a_server_that_drips_bytes_is_cut_off_at_the_deadline(endpoint, server) -> None:
    server.drips, server.tokens = True, None
    seen = observe(endpoint, timeout_s=0.3)
    (completion,) = [each for each in seen.results if each.probe == "completion"]
    assert completion.verdict is Verdict.FAILED
    assert "in time" in completion.detail


def test_the_host_header_of_an_endpoint_is_sent(endpoint, server) -> None:
    observe(Endpoint("http", endpoint.host, endpoint.port, host_header="pod-1.example.net"))
    assert {each["Host"] for each in server.headers} == {"pod-1.example.net"}
