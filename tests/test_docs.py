"""The documentation: the tutorial runs, links lead somewhere, commands and options exist."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import BLOCK, run

from tamis.retriever.training.read_config import read_config
from tamis.scripts.bench.agreement import BOUNDS
from tamis.scripts.main import command_line

ROOT = Path(__file__).parent.parent
ROOMS = ("retriever", "index", "kernels", "api", "eval", "scripts")
DOCS = ROOT / "scripts" / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))
READMES = [
    page
    for room in ROOMS
    for page in sorted((ROOT / room).rglob("*.md"))
    if "build" not in page.parts
]
MODULE = re.compile(r"`([\w/]+\.py)`")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"\btamis ([a-z]+)\b((?:[^`\n|]|\\\|)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
IDENTIFIER = re.compile(r"^::: (tamis\.[\w.]+)$", re.MULTILINE)


@pytest.mark.long
def test_the_tutorial_runs_in_the_order_of_its_page(tmp_path):
    outputs = []
    for language, code in BLOCK.findall((DOCS / "pages" / "tutorial.md").read_text()):
        done = run(language, code, tmp_path)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    everything = "\n".join(outputs)
    assert "no mistake found" in everything
    assert "field order: integer" in everything
    assert everything.index("jupiter") < everything.index("expansion: not in the document's text")
    assert "atlas#2" in everything


@pytest.mark.long
@pytest.mark.parametrize(
    ("page", "told"),
    [
        (
            "search-over-http",
            (
                '"id":"b1"',
                '"relation":"exact"',
                '"to":"heron"',
                '"suggestions":',
                '"code":"invalid_value"',
            ),
        ),
        ("write-over-http", ('"written":3', '"year":2013', '"deleted":1', '"kind":"snapshot"')),
    ],
)
def test_the_examples_over_http_run_in_the_order_of_their_page(page, told, tmp_path):
    blocks = BLOCK.findall((DOCS / "pages" / "how-to" / f"{page}.md").read_text())
    assert {language for language, _ in blocks} == {"bash"}
    script = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + "".join(
        code for _, code in blocks
    )
    done = run("bash", script, tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for part in told:
        assert part in done.stdout, part


def test_the_example_of_pyterrier_runs(tmp_path):
    pytest.importorskip("pyterrier", reason="python-terrier is not installed")
    page = (DOCS / "pages" / "how-to" / "integrations.md").read_text()
    ((_, code),) = BLOCK.findall(page)
    done = run("python", code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"all\s+1\.0\s+1\.0", done.stdout)


def test_the_configuration_of_a_training_is_one_that_train_reads(tmp_path):
    page = (DOCS / "pages" / "how-to" / "fine-tune.md").read_text()
    (shown,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "mine.toml").write_text(shown)
    config = read_config(tmp_path / "mine.toml")
    assert config.data.dev == ("mine:dev",)
    assert config.loss.bm25 == 0.4


def test_every_command_has_a_page_that_the_reference_lists(tmp_path):
    made = runpy.run_path(str(ROOT / "scripts" / "dev" / "docs_commands.py"))
    listed = made["on_page_markdown"]((DOCS / "pages" / "reference" / "commands.md").read_text())
    shown = run("bash", "tamis --help", tmp_path).stdout
    names = re.findall(r"^  ([a-z]+)  ", shown.partition("Commands:")[2], re.MULTILINE)
    assert re.findall(r"\(commands/tamis-(.+)\.md\)", listed) == names
    for name in names:
        page = made["page_of"](name)
        assert page.startswith(f"# tamis {name}\n")
        assert f"tamis {name} [OPTIONS]" in page
    assert "tamis search planets" in made["page_of"]("search")
    benches = re.findall(r"^## (.+)$", made["page_of"]("bench"), re.MULTILINE)
    assert {"tamis bench head", "tamis bench agreement"} <= set(benches)


def test_the_bounds_that_a_page_states_are_those_that_are_held():
    page = (DOCS / "pages" / "how-to" / "platforms.md").read_text()
    for dtype, bound in BOUNDS.items():
        name = str(dtype).removeprefix("torch.")
        numbers = re.search(rf"^\| {name} \| (.*) \| (.*) % \| (.*) \|$", page, re.MULTILINE)
        assert numbers is not None
        assert [float(number) for number in numbers.groups()] == [
            bound.weight,
            pytest.approx(100 * bound.terms),
            bound.measure,
        ]


@pytest.mark.parametrize("page", READMES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_exist(page):
    modules = [str(path) for path in ROOT.rglob("*.py") if "build" not in path.parts]
    for name in MODULE.findall(page.read_text()):
        assert any(path.endswith(f"/{name}") for path in modules), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_pages_that_exist(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).is_file(), target


def options(command):
    """Of a command, or of all commands of a group."""
    within = getattr(command, "commands", {}).values()
    own = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    return own.union(*map(options, within))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_that_are_named_exist(page):
    import typer

    commands = typer.main.get_command(command_line()).commands
    known = {name: options(command) for name, command in commands.items()}
    for name, rest in COMMAND.findall(page.read_text()):
        if name not in known:
            assert name in {"is", "names", "reads", "itself"}, name
            continue
        assert set(OPTION.findall(rest)) <= known[name], (name, rest)


def test_every_page_is_in_the_menu():
    menu = (DOCS / "mkdocs.yml").read_text()
    assert all(page.relative_to(DOCS / "pages").as_posix() in menu for page in PAGES)


def test_what_the_reference_shows_exists():
    for page in PAGES:
        for name in IDENTIFIER.findall(page.read_text()):
            module, _, last = name.rpartition(".")
            parts = [name, ""] if last.islower() and _source(name).is_file() else [module, last]
            source = _source(parts[0])
            assert source.is_file(), name
            assert not parts[1] or re.search(
                rf"^(class|def) {parts[1]}\b", source.read_text(), re.M
            )


def _source(module):
    return ROOT / Path(*module.split(".")[1:]).with_suffix(".py")


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", DOCS / "mkdocs.yml"]
    subprocess.run([*command, "-d", tmp_path], check=True)
