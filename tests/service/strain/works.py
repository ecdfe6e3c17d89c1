"""Paths of work of a server, and how each is begun from outside."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from strained import Strained, until

from tamis.api.problems import of_error
from tamis.retriever import Passage
from tamis.retriever.editor import Editor

ERRORS = tuple(
    getattr(errno, name)
    for name in ("EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EIO", "EACCES", "ESTALE")
)
CODES = {number: of_error(OSError(number, "")).code for number in ERRORS}
REFUSED = (200, 201, 202, 503, 507)  # carried out, or refused by the machine
INDEX, OTHER = "a", "other"
FOLDERS = 20  # of segments: the newest, those it came of, and what searches may still read
_turn = count()


@dataclass(frozen=True, slots=True)
class Work:
    """A path of work.

    Attributes:
        name: in rows.
        covers: the places in the code that begin it, as `background_paths` names them.
        threads: a pattern of the names of those that do it.
        place: a pattern of the folders that it works in.
        begin: has it done, while the machine refuses; False where it went well all the same.
        end: sees to what it has left, when the machine works again.
        is_told: whether the probes tell of it while it cannot be done.
        tidies: steps that remove what nobody needs: they are left for the next time, untold.
        steps: that it is made of; None for those that are seen.
    """

    name: str
    covers: tuple[str, ...]
    threads: str
    place: str
    begin: Callable[[Strained], bool]
    end: Callable[[Strained], None] = lambda server: None
    is_told: bool = True
    tidies: tuple[str, ...] = ()
    steps: tuple[str, ...] | None = None


def check_refusal(answer):
    """A refusal by the machine says which one it is, and that it may be tried again."""
    if not answer.is_success:
        assert answer.json()["code"] in CODES.values(), answer.text
        assert int(answer.headers["Retry-After"]) > 0


def new_id():
    return f"d{next(_turn)}"


def publish(server):
    server.put(INDEX, new_id())
    return False


def merge(server):
    check_refusal(server.put(INDEX, new_id(), *REFUSED, wait="searchable"))
    return False


def write(server):
    answer = server.put(INDEX, new_id(), *REFUSED, wait="searchable")
    check_refusal(answer)
    return answer.is_success


def remove(server):
    server.create("gone")
    server.remove("gone")
    return False


def create(server):
    answer = server.ask("PUT", "indexes/new", *REFUSED, json={"encoder": None})
    check_refusal(answer)
    if answer.is_success:
        check_refusal(server.ask("DELETE", "indexes/new", *REFUSED))
    return True


def created(server):
    server.ask("DELETE", "indexes/new", 200, 404)
    server.ask("PUT", "indexes/new", 201, json={"encoder": None})
    server.ask("DELETE", "indexes/new")


def run_task(server, path, *statuses, **body):
    """Have a task end in one of some ways; where it fails, it says what the machine refuses."""
    found = server.done(server.ask("POST", path, 202, json=body).json())
    assert found["status"] in statuses, found
    assert found["status"] != "failed" or "expected" in found["message"], found
    return True


def optimize(server, *statuses):
    return run_task(server, f"indexes/{INDEX}/optimize", *(statuses or ("done", "failed")))


def optimized(server):
    optimize(server, "done")
    merged(server)


def merged(server):
    """All has become one segment, whatever was refused; folders that nobody needs are gone."""
    doc_id = new_id()  # the first try may be told of a merge that has stopped the writer
    until(lambda: server.put(INDEX, doc_id, *REFUSED, wait="searchable").is_success)
    until(lambda: server.segments(INDEX) == 1)
    assert len(list((server.folder / "data" / "indexes" / INDEX / "segments").iterdir())) <= FOLDERS


def snapshot(server, *statuses):
    path = f"indexes/{INDEX}/snapshots"
    return run_task(server, path, *(statuses or ("done", "failed")), name=new_id())


def snapshotted(server):
    snapshot(server, "done")


def restore(server):
    (kept, *_) = server.ask("GET", f"indexes/{INDEX}/snapshots").json()["snapshots"] or [None]
    if kept is None:
        snapshot(server)
        return restore(server)
    how = {"index": INDEX, "snapshot": kept["name"], "to": "restored"}
    return run_task(server, "restore", "done", "failed", **how)


def restored(server):
    if server.ask("DELETE", "indexes/restored", 200, 404).status_code == 404:
        restore(server)
        server.ask("DELETE", "indexes/restored")


def follow(server):
    with Editor.open(server.given) as editor:
        editor.put([Passage(doc_id := new_id(), "an owl")], wait="searchable")
    server.truth["given"].add(doc_id)
    return False


def change_keys(server):
    os.utime(server.keys)
    return False


def nothing(server):
    return False


def keep_task(server):
    optimize(server)
    return False


def rest(server):
    server.put(INDEX, new_id())
    server.order(
        set={
            "tamis.api.serving.service.REST_AFTER": 1,
            "tamis.api.serving.data_folder.LONGEST_IDLE_S": -1.0,
        }
    )
    until(lambda: server.order(refused=1)["refused"])
    return True


def rested(server):
    server.order(
        set={
            "tamis.api.serving.service.REST_AFTER": 60,
            "tamis.api.serving.data_folder.LONGEST_IDLE_S": 300.0,
        }
    )


TIDIES = ("names", "remove", "remove_folder", "remove_empty_folder")
UPKEEP = "tamis-upkeep"
EXECUTOR = "asyncio|uvloop"  # of the event loop
SERVICE = "api/serving/service.py"
TASKS = ("api/serving/background_tasks.py: self._run",)
SYNCS = ("index/files/storage.py: self.sync_name",)
WORKS = (
    Work(
        "publish",
        ("api/serving/living_index.py: self._look_after", *SYNCS),
        f"{UPKEEP}|tamis-sync",
        f"/indexes/{INDEX}$",
        publish,
        tidies=TIDIES,
    ),
    Work(
        "merge",
        ("index/writing/writer.py: self.merge",),
        "tamis-merge",
        f"/indexes/{INDEX}$",
        merge,
        merged,
        tidies=TIDIES,
    ),
    Work(
        "write",
        ("api/work/workers.py: self._work",),
        "tamis-write",
        f"/indexes/{INDEX}$",
        write,
        is_told=False,  # but to who writes: others open the index again at once
    ),
    Work(
        "create",
        (),
        "tamis-write",
        r"/data(/removed/\w+|/indexes/new)?$",
        create,
        created,
        is_told=False,
    ),
    Work("remove", ("api/serving/data_folder.py: self._look_after",), UPKEEP, "/data$", remove),
    Work("snapshot", TASKS, "tamis-task", "/data", snapshot, snapshotted, is_told=False),
    Work("restore", TASKS, "tamis-task", "/data", restore, restored, is_told=False),
    Work(
        "optimize",
        TASKS,
        "tamis-task",
        "/data",
        optimize,
        optimized,
        is_told=False,
        tidies=TIDIES,
    ),
    Work("task records", (), f"tamis-task|{UPKEEP}", "/data", keep_task, steps=("database",)),
    Work(
        "follow", ("api/serving/given_index.py: self._follow",), "tamis-follow", "/given$", follow
    ),
    Work("keys", (f"{SERVICE}: part.look_after",), EXECUTOR, "", change_keys, steps=("keys",)),
    Work("any file", (), "MainThread", "", nothing, steps=("any_file",)),
    Work("turn", ("api/http/app.py: service.follow",), "MainThread", "", nothing, steps=("turn",)),
    Work(
        "rest",
        (f"{SERVICE}: self.library.free_memory",),
        EXECUTOR,
        f"/indexes/{INDEX}$",
        rest,
        rested,
        is_told=False,
        steps=("*",),
    ),
)
