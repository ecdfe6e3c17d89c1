"""Writes the golden index of the present format: python make.py OUT.zip

Run it once for each release; an index that a release wrote is never rewritten.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

from letter_encoder import LetterEncoder

from tamis.retriever import Editor, Passage, index_corpus

TIME = (2026, 1, 1, 0, 0, 0)


def passages(*numbers):
    return [
        Passage(f"d{i}", f"passage {i} about {'cats' if i % 3 else 'dogs and cats'}", f"Title {i}")
        for i in numbers
    ]


def make(path):
    """Thirty documents, two of them deleted, two replaced and two new, and one in the log alone.

    Of the new ones one brings its vector, and one has no words.
    """
    index_corpus(passages(*range(30)), path, encoder=LetterEncoder(), source="golden").close()
    editor = Editor.open(path, LetterEncoder(), merge=False)
    editor.delete(["d1", "d2"])
    editor.put_weighted([Passage("given", "an ibis")], [{"=newt": 2.0, "a": 0.5}])
    editor.put([*passages(7), Passage("d3", "a heron and its nest"), Passage("mute", "...")])
    editor.commit()
    editor.put([Passage("d31", "an owl that nobody has committed")])
    editor.writer._log.close()
    editor.writer._lock.release()


def main(out):
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(out, "w") as golden:
        make(Path(folder) / "c")
        for file in sorted((Path(folder) / "c").rglob("*")):
            if file.is_file() and file.name != "LOCK":
                name = file.relative_to(Path(folder) / "c")
                info = zipfile.ZipInfo(str(name), TIME)
                golden.writestr(info, file.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main(sys.argv[1])
