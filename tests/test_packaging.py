"""What is installed is `tamis.*` and nothing else, and the base needs no torch."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("retriever", "index", "kernels", "api", "eval", "scripts")


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_with_modules_is_listed_as_a_package():
    listed = set(project()["tool"]["setuptools"]["packages"])
    found = set()
    for room in ROOMS:
        for module in (ROOT / room).rglob("*.py"):
            folder = module.parent.relative_to(ROOT)
            if folder.parts[:2] != ("scripts", "dev"):
                found.add(".".join(["tamis", *folder.parts]))
    assert listed == found


def test_each_package_lies_in_the_folder_of_its_name():
    for package, folder in project()["tool"]["setuptools"]["package-dir"].items():
        assert package == "tamis." + folder.replace("/", ".")


def test_kernels_has_no_init_so_that_it_shadows_no_other_package():
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_the_top_level_holds_the_agreed_rooms_alone():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    tops = {name.split("/")[0] for name in tracked}
    visible = {name for name in tops if not name.startswith(".")}
    files = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert visible <= {*ROOMS, "tests", "findings", *files}


def test_the_changelog_begins_with_this_version_and_dates_the_others():
    log = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (.*)$", log, re.MULTILINE)
    first = re.fullmatch(r"\[(\S+)\] - (unreleased|\d{4}-\d\d-\d\d)", sections[0])
    assert first is not None
    assert first[1] == project()["project"]["version"]
    earlier = [re.fullmatch(r"\[\S+\] - (\d{4}-\d\d-\d\d)", section) for section in sections[1:]]
    assert all(earlier), "a release without its date"
    days = [found[1] for found in earlier]
    assert days == sorted(days, reverse=True)


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="tamis")
    assert command.value == "tamis.scripts.main:main"


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "triton", "fastapi", "ir_measures"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def test_the_base_opens_and_searches_an_index_without_torch(tmp_path, sample_index):
    """The encoder's query side is a table, so a text query needs no model."""
    code = BLOCKED + (
        "from tamis.retriever import Searcher\n"
        f"searcher = Searcher.open({str(sample_index)!r})\n"
        "(result,) = searcher.search(['Which planet is the red one?'], k=3, explain=True)\n"
        "print(result.hits[0].doc_id, len(result.hits[0].matched_terms))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "mars"
