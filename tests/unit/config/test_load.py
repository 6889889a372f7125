"""What a person is told about a wrong schedules.yaml: where, what is wrong, what instead."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drkit.config.load import InvalidDocument, config_schema, load_config, render_config
from drkit.config.models import Config
from drkit.errors import ConfigError
from drkit.units import parse_duration, write_duration

PROJECT = Path(__file__).resolve().parents[3]

SMALLEST = """\
drkit: 1
stores:
  disk:
    kind: folder
    role: primary
    path: /mnt/disk
repository:
  password: env:RESTIC_PASSWORD
sources:
  notes:
    kind: tree
    path: /srv/notes
"""

# (what is written instead of what, then the problems: line, field, a part of the text, a part of
# the suggestion)
BAD = {
    "a misspelt key": (
        ("path: /mnt/disk", "pth: /mnt/disk"),
        [(3, "stores.disk.path", "missing", ""), (6, "stores.disk.pth", "unknown key", "`path`")],
    ),
    "a key of the top that is misspelt": (
        ("repository:", "repositry:"),
        [(1, "repository", "missing", ""), (7, "repositry", "unknown key", "`repository`")],
    ),
    "a key like nothing that is known": (
        ("    path: /srv/notes", "    path: /srv/notes\n    zzz: 1"),
        [(13, "sources.notes.zzz", "unknown key", "known here: lives_on, rpo_min, residency")],
    ),
    "a key that has the name of its kind": (
        ("    kind: folder\n", "    kind: folder\n    folder: {a: 1}\n"),
        [(5, "stores.disk.folder", "unknown key", "known here")],
    ),
    "a kind that does not exist": (
        ("kind: tree", "kind: treee"),
        [(11, "sources.notes.kind", "`treee` is no kind of this", "`tree`")],
    ),
    "a kind that is not written": (
        ("    kind: folder\n", ""),
        [(3, "stores.disk.kind", "missing", "one of folder, gcs, s3, b2")],
    ),
    "a role that does not exist": (
        ("role: primary", "role: archiv"),
        [(5, "stores.disk.role", "`archiv` is not 'primary', 'backup' or 'archive'", "`archive`")],
    ),
    "another version": (
        ("drkit: 1", "drkit: 2"),
        [(1, "drkit", "`2` is a number; it must be 1", "")],
    ),
    "a number where text is wanted": (
        ("path: /mnt/disk", "path: 2024"),
        [(6, "stores.disk.path", "is a number; text is wanted", 'quotes: "2024"')],
    ),
    "a boolean where text is wanted": (
        ("path: /mnt/disk", "path: true"),
        [(6, "stores.disk.path", "is true or false; text is wanted", 'quotes: "true"')],
    ),
    "a boolean where a number is wanted": (
        ("env:RESTIC_PASSWORD", "env:RESTIC_PASSWORD\n  min_copies: true"),
        [(9, "repository.min_copies", "is true or false; a number is wanted", "")],
    ),
    "a word where a number is wanted": (
        ("env:RESTIC_PASSWORD", "env:RESTIC_PASSWORD\n  min_copies: many"),
        [(9, "repository.min_copies", "`many`; a whole number is wanted", "")],
    ),
    "a number that is too small": (
        ("env:RESTIC_PASSWORD", "env:RESTIC_PASSWORD\n  min_copies: 0"),
        [(9, "repository.min_copies", "must be at least 1", "")],
    ),
    "a section that is empty": (
        ("  disk:\n    kind: folder\n    role: primary\n    path: /mnt/disk\n", ""),
        [(2, "stores", "is empty; a mapping", "")],
    ),
    "a list where a mapping is wanted": (
        ("repository:\n  password: env:RESTIC_PASSWORD", "repository: [1]"),
        [(7, "repository", "is a list; a mapping", "")],
    ),
    "a duration without its unit": (
        ("role: primary", "role: primary\n    keep: {within: 30}"),
        [(6, "stores.disk.keep.within", "a duration needs its unit", "")],
    ),
    "a name that cannot be a path": (
        ("  disk:", "  My Disk:"),
        [(3, "stores.My Disk", "a name is lower-case letters", "")],
    ),
    "a site that is not listed": (
        ("path: /srv/notes", "path: /srv/notes\n    lives_on: vmm\nsites: {vm: {}}"),
        [(13, "sources.notes.lives_on", "`vmm` is not in `sites`", "`vm`")],
    ),
    "a schedule with two clocks": (
        ("drkit: 1", "drkit: 1\nschedules:\n  a: {run: backup, every: 5m, cron: 1 2 * * *}"),
        [(3, "schedules.a", "either `every` or `cron`", "")],
    ),
    "a cron line with four fields": (
        ("drkit: 1", "drkit: 1\nschedules:\n  a: {run: backup, cron: 1 2 * *}"),
        [(3, "schedules.a.cron", "five fields", "")],
    ),
    "a schedule that never rests": (
        ("drkit: 1", "drkit: 1\nschedules:\n  a: {run: backup, every: 0s}"),
        [(3, "schedules.a", "`every` must be above 0", "")],
    ),
    "a duration that outlives everybody": (
        ("drkit: 1", "drkit: 1\nobjectives: {drill_every: 999999999d}"),
        [(2, "objectives.drill_every", "longer than a hundred years", "")],
    ),
    "two stores in one folder": (
        (
            "    path: /mnt/disk",
            "    path: /mnt/disk\n  b: {kind: folder, role: backup, path: /mnt/./disk/}",
        ),
        [(7, "stores.b.path", "the store `disk` lies here already", "")],
    ),
    "a key written twice": (
        ("drkit: 1", "drkit: 1\ndrkit: 1"),
        [(2, "", "`drkit` is written twice", "")],
    ),
    "a key that is no text": (
        ("  disk:", "  1:"),
        [(3, "", "the key `1` is not text", "")],
    ),
    "a date": (
        ("path: /mnt/disk", "path: 2024-01-01"),
        [(6, "", "write text in quotes", "")],
    ),
    "a bracket that is not closed": (
        ("path: /mnt/disk", "path: [/mnt/disk"),
        [(7, "", "flow sequence", "")],
    ),
    "a tag": (
        ("path: /mnt/disk", "path: !!python/object:os.system x"),
        [(6, "", "write text in quotes", "")],
    ),
    "aliases that would fill the memory": (
        (
            "drkit: 1",
            "drkit: 1\nx:\n  a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(
                f"  {to}: &{to} [{', '.join([f'*{of}'] * 10)}]\n"
                for of, to in ("ab", "bc", "cd", "de", "ef", "fg", "gh")
            ),
        ),
        [(2, "", "too large or too deep", "")],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_file_is_explained_by_line_and_field(name: str, tmp_path: Path) -> None:
    (old, new), expected = BAD[name]
    assert old in SMALLEST
    path = write(tmp_path, SMALLEST.replace(old, new, 1))

    with pytest.raises(InvalidDocument) as caught:
        load_config(path)

    problems = caught.value.problems
    assert [(problem.line, problem.field) for problem in problems] == [row[:2] for row in expected]
    for problem, (_, _, text, suggestion) in zip(problems, expected, strict=True):
        assert text in problem.text
        assert suggestion in problem.suggestion
        assert f"{path}:{problem.line}: " in caught.value.message
    assert caught.value.exit_status == 2


def test_the_smallest_file_is_one_store_and_one_source(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SMALLEST))

    assert list(config.stores) == ["disk"]
    assert config.min_copies == 1


def test_a_secret_written_as_its_value_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, SMALLEST.replace("env:RESTIC_PASSWORD", "hunter2-hunter2"))

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    assert "repository.password" in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "schedules.yaml")

    for way in ("drkit init", "--config", "--sandbox"):
        assert way in caught.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"drkit: 1\n\xff\n", ":2: not UTF-8"),
        (b"#" * (4 << 20) + b"\n", "larger than 4 MiB"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_the_shown_configuration_loads_to_the_same_deployment(tmp_path: Path) -> None:
    config = load_config(PROJECT / "schedules.yaml")

    shown = render_config(config)

    assert load_config(write(tmp_path, shown)) == config
    assert "down_after_s: 45s" in shown
    assert "env:RESTIC_PASSWORD" in shown


def test_the_schema_names_every_section() -> None:
    assert set(config_schema()["properties"]) == set(Config.model_fields)


@given(st.integers(min_value=0, max_value=10**7))
def test_a_written_duration_reads_back(tenths: int) -> None:
    assert parse_duration(write_duration(tenths / 10)) == pytest.approx(tenths / 10)


def write(folder: Path, text: str) -> Path:
    path = folder / "schedules.yaml"
    path.write_text(text)
    return path


def test_a_tab_is_told_what_to_write_instead(tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text("drkit: 1\nstores:\n\tdisk: {}\n")
    with pytest.raises(InvalidDocument, match=r"schedules\.yaml:3: ") as caught:
        load_config(tmp_path / "schedules.yaml")
    assert caught.value.hint == "indent with spaces: YAML knows no tabs"
