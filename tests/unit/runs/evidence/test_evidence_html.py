"""The page: one file, nothing in it is markup that a journal brought, and it is drawn to scale."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from types import ModuleType

import pytest

from drkit.runs.evidence import Evidence, build_evidence, evidence_html
from drkit.runs.evidence.values import ShownOverride

Told = Callable[[str], Evidence]
STORIES = ["good_drill", "failed_drill", "interrupted_drill", "rolled_back", "committed"]
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'"&`<b>x</b>`'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements in order, and whether every one that was opened was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("story", STORIES)
def test_every_element_is_closed_and_nothing_is_fetched(told: Told, story: str) -> None:
    html = evidence_html(told(story))
    page = Page(html)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not any({"src", "href"} & attributes.keys() for _, attributes in page.elements)
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize("story", STORIES)
def test_the_result_is_the_first_sentence_of_the_page(told: Told, story: str) -> None:
    evidence = told(story)
    page = Page(evidence_html(evidence))
    assert [tag for tag, _ in page.elements].count("h1") == 1
    assert evidence.headline in page.text
    assert page.text.index(evidence.headline) < page.text.index("What happened")


def test_hostile_text_stays_text_wherever_it_comes_from(stories: ModuleType) -> None:
    plan = replace(
        stories.make_plan(skip={"observe": HOSTILE}),
        service=HOSTILE,
        target=HOSTILE,
        lost=(HOSTILE,),
        runbook=HOSTILE,
    )
    story = stories.Story(plan).intent(0.5, "preflight").done(1, "preflight", HOSTILE)
    story.intent(1, "acquire").paid(1, "REQUESTED").paid(1, "ADOPTED", HOSTILE)
    story.done(1, "acquire", HOSTILE).skipped(1, "observe", HOSTILE, HOSTILE)
    sources = {HOSTILE: {**stories.POINT["sources"]["sncp"], "kind": HOSTILE, "lives_on": HOSTILE}}
    point = {"snapshot_id": HOSTILE, "stores": [HOSTILE], "sources": sources}
    story.intent(1, "point").done(1, "point", HOSTILE, output=point)
    restored = {"restored": {HOSTILE: {"into": HOSTILE, "url": HOSTILE, "files": 1, "bytes": 2}}}
    story.intent(1, "restore").done(2, "restore", HOSTILE, output=restored)
    proof = stories.proof(HOSTILE, HOSTILE, HOSTILE, passed=False, files=[HOSTILE])
    story.intent(2, "verify").failed(3, "verify", HOSTILE, HOSTILE, proofs=[proof])
    story.add(3, "note", None, {"text": HOSTILE}).add(3, "note", HOSTILE, {HOSTILE: HOSTILE})
    story.add(3, "note", "restore", {"undo_failed": HOSTILE}).looked(3, HOSTILE)
    run = replace(
        story.record(stories.RunState.NEEDS_OPERATOR, outcome=HOSTILE),
        id=HOSTILE,
        plan_checksum=HOSTILE,
        drkit_version=HOSTILE,
    )
    evidence = build_evidence(
        run,
        plan,
        story.entries,
        overrides=[ShownOverride(HOSTILE, HOSTILE, HOSTILE)],
        now=story.entries[-1].at,
    )
    page = Page(evidence_html(evidence))
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img"}
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert page.text.count("<script>alert(1)</script>") > 20


def test_a_sandbox_page_is_marked_and_a_real_one_is_not(told: Told) -> None:
    real = told("good_drill")
    overrides = (ShownOverride("DNS TTL", "60 s", "0 s"),)
    marked = Page(evidence_html(replace(real, sandbox=True, overrides=overrides))).text
    assert "It counts for nothing real" in marked
    assert "DNS TTL 60 s 0 s" in marked
    assert "SANDBOX" not in Page(evidence_html(real)).text


def test_bars_are_to_scale(told: Told) -> None:
    evidence = told("good_drill")
    html = evidence_html(evidence)
    spans = {
        title: (float(left), float(width))
        for title, left, width in re.findall(
            r'title="([a-z_]+: [^"]*)" style="left:([\d.]+)%;width:([\d.]+)%"', html
        )
    }
    by_step = {
        title.split(":")[0]: place for title, place in spans.items() if "undone" not in title
    }
    whole_s = evidence.length_s + (evidence.clocks.before_s or 0)
    for step in evidence.steps:
        if step.segments:
            left, width = by_step[step.id]
            assert width == pytest.approx(100 * step.spent_s / whole_s, abs=0.01)
            begin_s = step.segments[0].begin_s + (evidence.clocks.before_s or 0)
            assert left == pytest.approx(100 * begin_s / whole_s, abs=0.01)


def test_a_failed_probe_long_before_the_run_does_not_squeeze_the_timeline(
    stories: ModuleType,
) -> None:
    run, plan, entries = stories.good_drill()
    run = replace(run, first_failed_probe_at=run.created_at - timedelta(hours=9))
    page = Page(evidence_html(build_evidence(run, plan, entries, now=entries[-1].at)))
    assert "The first failed probe was 9 h before the run began, too far to be drawn." in page.text
    assert "before the run" not in page.words


def test_an_open_run_and_an_empty_journal_have_a_page_too(stories: ModuleType) -> None:
    plan = stories.make_plan()
    story = stories.Story(plan)
    run = story.record(stories.RunState.PLANNED)
    for entries in (story.entries, []):
        page = Page(evidence_html(build_evidence(run, plan, entries, now=stories.START)))
        assert "is not over" in page.text


def test_a_file_name_that_is_no_text_can_be_written_as_utf_8(stories: ModuleType) -> None:
    plan = stories.make_plan()
    bad = stories.proof("tree", "sncp", "wrong", passed=False, files=["notes/\udce9t\udce9.md"])
    story = stories.Story(plan).intent(1, "verify").failed(2, "verify", "wrong", proofs=[bad])
    run = story.record(stories.RunState.RUNNING)
    html = evidence_html(build_evidence(run, plan, story.entries, now=stories.START))
    assert b"notes/\\udce9t\\udce9.md" in html.encode()
