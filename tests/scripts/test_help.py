"""What a new user reads first: a help line for each option, an example that works as typed."""

import shlex

import pytest
import typer
from typer.testing import CliRunner

from tamis.scripts.commands import PLACES
from tamis.scripts.examples import EXAMPLES
from tamis.scripts.main import command_line


def commands():
    """Every command by its name, those of groups with the group's before it."""
    found = {}
    for name, command in typer.main.get_command(command_line()).commands.items():
        within = getattr(command, "commands", None)
        if within is None:
            found[name] = command
        else:
            found |= {f"{name} {inner}": one for inner, one in within.items()}
    return found


COMMANDS = commands()


def test_every_command_has_an_example_and_no_other_has():
    assert sorted(EXAMPLES) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_parsed_by_its_command_and_shown(name):
    words = shlex.split(EXAMPLES[name])
    own = ["tamis", *name.split()]
    assert words[: len(own)] == own
    COMMANDS[name].make_context(name, words[len(own) :])  # raises UsageError
    shown = CliRunner().invoke(command_line(), [*own[1:], "--help"]).stdout
    assert EXAMPLES[name] in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_parameter_is_explained(name):
    unexplained = [one.name for one in COMMANDS[name].params if not (one.help or "").strip()]
    assert unexplained == []


@pytest.mark.parametrize("name", ["", "bench", *sorted(COMMANDS)])
def test_no_line_of_help_is_cut_or_wider_than_80_columns(name):
    arguments = [*name.split(), "--help"]
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(command_line(), arguments).stdout
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    usage = [line for line in lines if line.endswith(("...", "…")) and "Usage:" not in line]
    assert usage == []
    assert "...]..." not in lines[0]


def refusal(tamis, *arguments):
    result = tamis(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["eval", "sample", "--index", "i", "--no-lexical"], ["--index", "--no-lexical"]),
        (["eval", "sample", "--from-run", "r", "--chunk", "9"], ["--from-run", "--chunk"]),
        (["eval", "sample", "--from-run", "r", "--encoder", "e"], ["--from-run", "--encoder"]),
        (["eval", "--suite", "s.toml", "--seed", "4"], ["--suite", "--seed"]),
        (["eval", "sample", "--only", "bm25"], ["--suite", "--only"]),
        (["search", "i", "text", "--exact", "--recall", "0.99"], ["--exact", "--recall"]),
        (["search", "i", "text", "--group-size", "3"], ["--group-by", "--group-size"]),
        (
            ["index", "--vectors", "v", "--out", "i", "--memory", "1GiB", "--no-lexical"],
            ["--vectors", "--memory", "--no-lexical"],
        ),
        (["index", "corpus", "--out", "i", "--vocab-size", "9"], ["--vectors", "--vocab-size"]),
        (["index", "corpus", "--out", "i", "--rerank-bits", "4"], ["--rerank-cache"]),
        (["index", "corpus", "--out", "i", "--rerank-budget-mib", "4"], ["--rerank-cache"]),
        (["search", "i", "text", "--reranker", "dense"], ["--reranker", "--rerank"]),
        (["eval", "sample", "--rerank", "5", "--reranker", "dense"], ["--index", "--reranker"]),
        (["index", "corpus", "--out", "i", "--rerank-cache", "--rerank-bits", "5"], ["4 or 8"]),
    ],
)
def test_options_that_have_no_effect_together_are_refused(tamis, arguments, named):
    said = " ".join(refusal(tamis, *arguments).split())
    assert all(name in said for name in named), said


def test_each_of_two_such_options_is_taken_alone(tamis, index):
    for alone in (["--exact"], ["--recall", "0.9"]):
        assert tamis("search", index, "owl", *alone).exit_code == 0


def test_the_list_of_commands_fits_a_terminal_and_names_each():
    listed = CliRunner().invoke(command_line(), ["--help"]).stdout.split("Commands:\n")[1]
    rows = [line.split(maxsplit=1) for line in listed.splitlines()]
    assert [name for name, _ in rows] == list(PLACES)
    assert all(len(line) <= 80 and line.endswith(".") for line in listed.splitlines())
    verbs = {name: COMMANDS[name].help.split()[0] for name in PLACES if name in COMMANDS}
    assert {name: said.split()[0] for name, said in rows if name in verbs} == verbs
