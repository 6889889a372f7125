"""Every command line in README, docs and hints is one that the real command line takes."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from drkit.cli.main import app

PROJECT = Path(__file__).resolve().parents[2]
COMMAND_TREE: Any = typer.main.get_command(app)

SEPARATORS = ("|", ">", ">>", "&&", ";", "&")
# After these the word drkit is a subject, and what follows no command.
VERBS = {"act", "destroys", "has", "made", "may", "process", "reads", "that", "was"}


def pages() -> list[Path]:
    folders = [PROJECT / folder for folder in ("docs", "deploy")]
    found = [page for folder in folders for page in sorted(folder.rglob("*.md"))]
    return [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *found]


def blocks() -> list[tuple[str, str]]:
    """(document, line) for each line of a shell block that runs drkit or make."""
    found = []
    for page in pages():
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = re.sub(r"^(\$ )?([A-Z][A-Z0-9_]*=\S* )*", "", line.strip())
                if words.startswith(("drkit ", "make ")):
                    found.append((page.name, words))
    return found


def mentions() -> list[tuple[str, str]]:
    """(document, command) for each `drkit ...` in running text."""
    return sorted(
        {
            (page.name, words)
            for page in pages()
            for words in re.findall(r"`(drkit [a-z][^`\n]*)`", without_blocks(page.read_text()))
            if not words.startswith("drkit ticket 1")  # the first line of a file
        }
    )


def without_blocks(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def hints() -> list[tuple[str, str]]:
    """(module, command) for each command that a hint of an error names."""
    found = set()
    for module in sorted((PROJECT / "drkit").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                for words in re.findall(r"\bdrkit ((?:[a-z-]+ ?)+)", text_of(node.value)):
                    if words.split()[0] not in VERBS:
                        found.add((module.relative_to(PROJECT).as_posix(), words.strip()))
    return sorted(found)


def spoken() -> list[tuple[str, str]]:
    """(module, command) for each command with options that any text of the code names."""
    found = set()
    for module in sorted((PROJECT / "drkit").rglob("*.py")):
        inside: set[ast.AST] = set()
        for node in ast.walk(ast.parse(module.read_text())):
            if node in inside or not isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                continue
            inside.update(ast.walk(node))
            for words in re.findall(r"\bdrkit ((?:(?:-{0,2}[\w-]+|\"[^\"]+\") ?)+)", text_of(node)):
                if " -" in words and words.split()[0] in COMMAND_TREE.commands:
                    found.add((module.relative_to(PROJECT).as_posix(), words.strip()))
    return sorted(found)


def text_of(value: ast.expr) -> str:
    """The text of a literal; what is filled in is X."""
    match value:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) for part in parts)
        case ast.FormattedValue():
            return "X"
        case ast.BinOp(left=left, right=right):
            return text_of(left) + text_of(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{text_of(body)}; {text_of(other)}"
    return ""


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` reach, and what is left for it to parse."""
    node = COMMAND_TREE
    left = list(words)
    while hasattr(node, "commands") and left and not left[0].startswith("-"):
        assert left[0] in node.commands, f"there is no drkit {' '.join(words)}"
        node = node.commands[left.pop(0)]
    return node, left


def parse(words: list[str]) -> None:
    """Raises what the command line says of these words; nothing is run."""
    node, left = command_of(words)
    assert not hasattr(node, "commands") or left, f"drkit {' '.join(words)} is a group"
    context = node.make_context("drkit", left)
    context.close()


@pytest.mark.parametrize(("document", "line"), blocks())
def test_a_documented_command_line_parses(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    for number, word in enumerate(words):
        if word in SEPARATORS:
            words = words[:number]
            break
    if words[0] == "make":
        makefile = (PROJECT / "Makefile").read_text()
        for target in words[1:]:
            assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), line
        return
    parse(words[1:])


@pytest.mark.parametrize(("document", "words"), mentions())
def test_a_command_in_running_text_exists_with_its_options(document: str, words: str) -> None:
    node, left = command_of(shlex.split(words)[1:])
    options = {option for p in node.params for option in [*p.opts, *p.secondary_opts]}
    used = {word.split("=")[0] for word in left if word.startswith("-")}
    assert used <= options | {"--help", "-h"}, document


@pytest.mark.parametrize(("module", "words"), hints())
def test_a_command_that_a_hint_names_exists(module: str, words: str) -> None:
    node = COMMAND_TREE
    for number, word in enumerate(words.split()):
        if not hasattr(node, "commands"):
            return
        assert number or word in node.commands, f"{module}: there is no drkit {words}"
        if word not in node.commands:
            return  # a group, and the sentence goes on
        node = node.commands[word]


@pytest.mark.parametrize(("module", "words"), spoken())
def test_an_option_that_the_code_names_exists(module: str, words: str) -> None:
    node = COMMAND_TREE
    for word in words.split():
        if hasattr(node, "commands") and word in node.commands:
            node = node.commands[word]
    options = {option for p in node.params for option in [*p.opts, *p.secondary_opts]}
    named = {word for word in words.split() if re.fullmatch(r"--?[a-z][a-z-]*", word)}
    assert named <= options | {"--help"}, f"{module}: drkit {words}"


def test_the_readme_shows_its_two_commands() -> None:
    lines = [words.split("#")[0].strip() for name, words in blocks() if name == "README.md"]

    assert {"make drill", "make test"} <= set(lines)


def test_what_is_looked_for_is_found() -> None:
    assert len(blocks()) > 20 and len(mentions()) > 10 and len(hints()) > 20
    assert len(spoken()) > 20
    assert ("first-drill.md", "drkit failover --to coreweave --sandbox") in blocks()


@pytest.mark.parametrize(
    "line",
    ["restore", "bakcup", "runs", "backup --nosuch", "failover --to", "restore --target a b c"],
)
def test_a_line_that_is_wrong_is_told(line: str) -> None:
    with pytest.raises((AssertionError, Exception)) as caught:
        parse(line.split())
    assert caught.type.__name__ != "Exit"
