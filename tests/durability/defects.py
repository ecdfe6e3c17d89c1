"""Defects to put in on purpose, each with the check that must notice it."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import workload
from noticing import corruption, faults, lazy_corruption, nothing, power, promise, short_writes
from storages import Failing, Recording
from test_corruption import (
    test_a_damaged_write_in_the_log_is_an_error_and_a_torn_one_is_not as damaged_log,
)

from tamis.index import TamisError
from tamis.index.files import lock, wal
from tamis.index.files.array_file import ArrayFile
from tamis.index.files.storage import Storage
from tamis.index.generations import manifest, parts
from tamis.index.generations.draft import Draft
from tamis.index.index import Index
from tamis.index.segment.documents import Documents
from tamis.index.writing import build_here, merging, publisher, recovery, segment_request, writer
from tamis.index.writing.pending import Pending

DEFECTS = {}
NOTICED = (AssertionError, TamisError, ValueError, pytest.fail.Exception)


def defect(check):
    """Register a function that breaks something, with the check that must notice."""

    def register(function):
        DEFECTS[function.__name__.replace("_", " ")] = (function, check)
        return function

    return register


@defect(power)
def the_log_is_never_synced(patch):
    patch.setattr(wal.Log, "_sync_file", lambda log: setattr(log, "_synced_bytes", log.size_bytes))


@defect(power)
def a_write_returns_before_its_sync(patch):
    patch.setattr(wal.Log, "sync", nothing)


@defect(power)
def growing_files_are_not_synced(patch):
    leave = ArrayFile.__exit__

    def without_sync(file, *error):
        with patch.context() as for_now:
            for_now.setattr(Storage, "finish", nothing)
            leave(file, *error)

    patch.setattr(ArrayFile, "__exit__", without_sync)


@defect(power)
def mapped_files_are_not_synced(patch):
    finish = Recording.finish_mapped

    def without_sync(storage, name):
        with patch.context() as for_now:
            for_now.setattr(Storage, "finish", nothing)
            finish(storage, name)

    patch.setattr(Recording, "finish_mapped", without_sync)


@defect(power)
def files_are_gathered_and_then_forgotten(patch):
    patch.setattr(Recording, "sync_name", nothing)


@defect(power)
def whole_files_are_not_synced(patch):
    def write(storage, name, data):
        handle = storage.create(name)
        storage.write_all(handle, data)
        storage.close(handle)

    patch.setattr(Storage, "write", write)


@defect(power)
def names_in_folders_are_not_synced(patch):
    patch.setattr(Recording, "sync_folder", nothing)


@defect(power)
def names_in_segments_are_not_synced(patch):
    sync = Recording.sync_folder
    patch.setattr(
        Recording,
        "sync_folder",
        lambda storage, name="": name.startswith("segments/") or sync(storage, name),
    )


@defect(power)
def the_manifest_s_name_is_not_synced_before_current(patch):
    def publish(storage, found):
        name = manifest.manifest_name(found.generation)
        data = manifest.msgspec.json.encode(found)
        storage.write(name, data)
        storage.replace(manifest.CURRENT, manifest.current_line(found, data))

    patch.setattr("tamis.index.generations.draft.publish", publish)


@defect(power)
def current_is_written_before_the_manifest(patch):
    def publish(storage, found):
        name = manifest.manifest_name(found.generation)
        data = manifest.msgspec.json.encode(found)
        storage.replace(manifest.CURRENT, manifest.current_line(found, data))
        storage.write(name, data)
        storage.sync_folder()

    patch.setattr("tamis.index.generations.draft.publish", publish)


@defect(power)
def current_is_overwritten_in_place(patch):
    patch.setattr(Storage, "replace", lambda storage, name, data: storage.write(name, data))


@defect(power)
def current_is_renamed_before_it_is_synced(patch):
    def replace(storage, name, data):
        handle = storage.create(f"{name}.new")
        storage.write_all(handle, data)
        storage.close(handle)
        storage.rename(f"{name}.new", name)
        storage.sync_folder()

    patch.setattr(Storage, "replace", replace)


@defect(power)
def the_old_log_is_not_finished_before_the_new_one(patch):
    patch.setattr(wal.Log, "finish", nothing)
    append = writer.CollectionWriter._append
    patch.setattr(wal.Log, "sync", nothing)
    patch.setattr(writer.CollectionWriter, "_append", append)


@defect(power)
def the_log_is_removed_before_the_generation_is_published(patch):
    commit = publisher.Publisher.commit

    def early(self, pending, words, vocab_size, log):
        self._storage.remove(wal.log_name(log - 1))
        commit(self, pending, words, vocab_size, log)

    patch.setattr(publisher.Publisher, "commit", early)


@defect(damaged_log)
def a_torn_tail_is_not_cut_off(patch):
    resume = wal.Log.resume

    def keeping(storage, number, contents):
        return resume(storage, number, wal.LogContents(contents.payloads, contents.whole_bytes, 0))

    patch.setattr(wal.Log, "resume", staticmethod(keeping))


@defect(damaged_log)
def frames_are_not_compared_with_their_checksums(patch):
    patch.setattr(wal, "_checksum", lambda *arguments: 0)


@defect(power)
def recovery_forgets_the_last_write(patch):
    read = wal.read_logs

    def shorter(storage, first):
        logs = read(storage, first)
        last = logs[max(logs)]
        kept = wal.LogContents(last.payloads[:-1], last.whole_bytes, last.torn_bytes)
        return {**logs, max(logs): kept}

    patch.setattr(recovery, "read_logs", shorter)


@defect(power)
def a_new_generation_names_the_old_log(patch):
    commit = publisher.Publisher.commit
    patch.setattr(
        publisher.Publisher,
        "commit",
        lambda self, pending, words, size, log: commit(self, pending, words, size, log - 1),
    )
    patch.setattr(writer.Pending, "touched", lambda pending: iter(()))


@defect(corruption)
def files_are_not_compared_with_their_checksums(patch):
    patch.setattr(Storage, "check", Storage.check_size)


@defect(lambda folder: corruption(folder, "manifest-*", 7))
def the_manifest_is_not_compared_with_its_checksum(patch):
    read = manifest.read_bytes
    patch.setattr(manifest, "read_bytes", lambda storage, name, _: storage.read(name))
    assert read is not manifest.read_bytes


@defect(lazy_corruption)
def records_are_not_compared_with_their_checksums(patch):
    def encoded(documents, doc):
        start, stop = documents._offsets[doc], documents._offsets[doc + 1]
        return documents._unpacker.unpacked(documents._data[start:stop].tobytes())

    patch.setattr(Documents, "encoded", encoded)


@defect(damaged_log)
def acknowledgements_leave_no_mark(patch):
    append = wal.Log.append
    patch.setattr(wal.Log, "append", lambda log, payload: append(log, payload) if payload else 0)


@defect(faults)
def a_failed_publication_is_forgotten(patch):
    draft = publisher.Publisher._draft

    def forgetting(self):
        self._failure = None
        return draft(self)

    patch.setattr(publisher.Publisher, "_draft", forgetting)
    patch.setattr(
        publisher.Publisher,
        "remove_unused",
        lambda self: build_here.remove_unused(self._storage, self.manifest, self._busy),
    )


@defect(faults)
def a_failed_write_is_taken_for_done(patch):
    write = Failing.write_some

    def swallowing(storage, handle, data):
        try:
            return write(storage, handle, data)
        except OSError:
            return len(data)

    patch.setattr(Failing, "write_some", swallowing)


@defect(short_writes)
def a_short_write_is_taken_for_a_whole_one(patch):
    patch.setattr(
        Storage, "write_all", lambda storage, handle, data: storage.write_some(handle, data)
    )


@defect(promise("pins"))
def readers_are_not_asked(patch):
    def remove(storage, generation):
        storage.remove(manifest.manifest_name(generation))
        return True

    patch.setattr("tamis.index.generations.garbage.remove_unpinned", remove)


@defect(promise("pins"))
def unread_files_are_kept(patch):
    patch.setattr(build_here, "remove_unused", nothing)


@defect(promise("lock"))
def the_lock_is_not_taken(patch):
    patch.setattr(lock, "_await", nothing)


@defect(promise("merge_under_changes"))
def a_merge_brings_deleted_documents_back(patch):
    patch.setattr(
        publisher.Publisher,
        "_still_live",
        lambda self, part: publisher.np.ones(part.live_docs.size, bool),
    )


@defect(promise("merge_under_changes"))
def frequencies_keep_deleted_documents(patch):
    mark = publisher.Publisher._mark_deleted
    patch.setattr(
        publisher.Publisher,
        "_mark_deleted",
        lambda self, draft, ids, change: mark(self, draft, ids, deepcopy(change)),
    )


@defect(promise("held"))
def a_merge_does_not_hold_what_it_reads(patch):
    patch.setattr(Index, "again", lambda index: SimpleNamespace(**vars(index), close=nothing))


@defect(promise("held"))
def an_order_forgets_its_writes(patch):
    patch.setattr(
        "tamis.index.writing.segment_request._pending_of", lambda storage, logs: Pending()
    )


@defect(promise("held"))
def an_order_forgets_deletions(patch):
    message_of = workload.message_of

    def forgetting(order, storage):
        parts = [publisher.replace(part, live=None) for part in order.parts]
        return message_of(publisher.replace(order, parts=parts), storage)

    patch.setattr(workload, "message_of", forgetting)


@defect(promise("rewrite"))
def frequencies_outlive_a_rewrite(patch):
    rewrite = publisher.Publisher.rewrite

    def keeping(self, *arguments):
        before = self._frequency
        words = rewrite(self, *arguments)
        self._frequency = before[: len(words)]
        return words

    patch.setattr(publisher.Publisher, "rewrite", keeping)


@defect(promise("rewrite"))
def a_rewrite_keeps_all_words(patch):
    revise = workload.Forgetting.revise

    def adding(self, rows, words, storage, progress):
        found = revise(self, rows, words, storage, progress)
        words = workload.DictionaryWriter(workload.LEARNED, found.dictionary)
        words.add(["word1"])
        return publisher.replace(found, dictionary=words.dictionary())

    patch.setattr(workload.Forgetting, "revise", adding)


@defect(promise("order"))
def documents_with_words_are_not_counted_off(patch):
    patch.setattr(publisher.Publisher, "_with_words", lambda self, rows: 0)


@defect(promise("order"))
def replaced_documents_stay(patch):
    patch.setattr(Draft, "set_live", nothing)


@defect(promise("order"))
def a_merge_turns_the_order_round(patch):
    rows_of = merging.rows_of
    patch.setattr(
        segment_request, "rows_of", lambda parts, *others: rows_of(tuple(reversed(parts)), *others)
    )


@defect(promise("order"))
def ties_are_settled_by_chance(patch):
    best_of = parts.best_of
    patch.setattr(
        "tamis.index.index.best_of",
        lambda found, queries, k: best_of(list(reversed(found)), queries, k),
    )


@defect(promise("words"))
def words_are_not_logged(patch):
    patch.setattr(
        "tamis.index.segment.dictionary.DictionaryWriter.words_from", lambda words, first: []
    )


@defect(promise("group_commit"))
def every_write_syncs_by_itself(patch):
    def sync(log, place):
        with log._sync_lock:
            log._sync_file()

    patch.setattr(wal.Log, "sync", sync)


@defect(promise("words"))
def an_older_version_of_a_document_wins(patch):
    apply = Pending.apply

    def keeping(pending, write):
        before = dict(pending._rows)
        apply(pending, write)
        pending._rows.update(before)
        if write.ids == ["c", "d"]:
            pending._rows.pop("c")

    patch.setattr(Pending, "apply", keeping)
