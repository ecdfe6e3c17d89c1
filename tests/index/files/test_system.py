"""The memory that a process may use, where its control groups say less than the machine has."""

import pytest

from tamis.index.files.system import memory_bytes, usable_memory_bytes

MB = 1 << 20


def files(root, groups, limits):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for path, text in limits.items():
        place = root / "sys/fs/cgroup" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/\n", {"memory.max": f"{100 * MB}\n"}, 100 * MB),  # a container
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": f"{80 * MB}"}, 80 * MB),
        (
            "0::/a.slice/b.service\n",
            {"a.slice/b.service/memory.max": "max", "a.slice/memory.max": f"{70 * MB}"},
            70 * MB,
        ),
        (
            "4:cpu,cpuacct:/x\n3:memory:/x/y\n",
            {"memory/x/y/memory.limit_in_bytes": f"{60 * MB}", "x/memory.max": "1"},
            60 * MB,
        ),
        ("3:memory:/docker/gone\n", {"memory/memory.limit_in_bytes": f"{50 * MB}"}, 50 * MB),
        ("3:memory:/\n", {"memory/memory.limit_in_bytes": f"{2**63 - 4096}"}, None),
        ("nothing that is known\n", {}, None),
    ],
)
def test_the_least_limit_of_all_groups_holds(tmp_path, groups, limits, expected):
    found = usable_memory_bytes(files(tmp_path, groups, limits))
    assert found == (memory_bytes() if expected is None else expected)


def test_a_system_without_control_groups_has_the_machine_s(tmp_path):
    assert usable_memory_bytes(tmp_path) == memory_bytes()
