"""The shares of a corpus are its documents, each in one of them, in their order."""

import gzip
import json

import pytest

from tamis.index import InputError
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.corpus.shares import Share

IDS = [f"d{number}" for number in range(17)]


def jsonl(folder):
    lines = [json.dumps({"_id": doc_id, "text": f"text {doc_id}"}) for doc_id in IDS]
    lines.insert(3, "")  # a blank line is no document
    (folder / "c.jsonl").write_text("\n".join(lines))  # the last one has no end
    return folder / "c.jsonl"


def packed(folder):
    with gzip.open(folder / "c.jsonl.gz", "wb") as stream:
        stream.write(jsonl(folder).read_bytes())
    return folder / "c.jsonl.gz"


def several(folder):
    """Files of 1, 10 and 6 documents."""
    lines = jsonl(folder).read_text().replace("\n\n", "\n").split("\n")
    (folder / "many").mkdir()
    for name, some in (("a", lines[:1]), ("b", lines[1:11]), ("c", lines[11:])):
        (folder / "many" / f"{name}.jsonl").write_text("\n".join(some) + "\n")
    return folder / "many"


def tsv(folder):
    (folder / "c.tsv").write_text("".join(f"{doc_id}\ttext {doc_id}\n" for doc_id in IDS))
    return folder / "c.tsv"


def csv(folder):
    """Cells over two lines."""
    rows = [f'{doc_id},"text\n{doc_id}"' for doc_id in IDS]
    (folder / "c.csv").write_text("\n".join(["id,text", *rows]) + "\n")
    return folder / "c.csv"


def array(folder):
    """All on one line."""
    rows = [{"id": doc_id, "contents": doc_id} for doc_id in IDS]
    (folder / "c.json").write_text(json.dumps(rows))
    return folder / "c.json"


def parquet(folder):
    """Row groups of 4."""
    import pyarrow
    from pyarrow.parquet import write_table

    table = pyarrow.table({"id": IDS, "text": [f"text {doc_id}" for doc_id in IDS]})
    write_table(table, folder / "c.parquet", row_group_size=4)
    return folder / "c.parquet"


def texts(folder):
    (folder / "texts").mkdir()
    for number, doc_id in enumerate(IDS):
        (folder / "texts" / f"{number:02}.md").write_text(f"# {doc_id}\n\ntext\n")
    return folder / "texts"


@pytest.mark.parametrize("of", [1, 2, 3, 5, 17, 40])
@pytest.mark.parametrize("write", [jsonl, packed, several, tsv, csv, array, parquet, texts])
def test_shares_are_the_corpus_in_its_order(tmp_path, write, of):
    source = write(tmp_path)
    whole = list(read_passages(source))
    assert len(whole) == len(IDS)
    shares = [list(read_passages(source, share=Share(n, of))) for n in range(1, of + 1)]
    assert [one for share in shares for one in share] == whole


@pytest.mark.parametrize("write", [jsonl, several, tsv, parquet, texts])
def test_shares_are_about_equal(tmp_path, write):
    source = write(tmp_path)
    sizes = [len(list(read_passages(source, share=Share(n, 4)))) for n in range(1, 5)]
    assert max(sizes) - min(sizes) <= 2


def test_a_line_of_another_share_is_not_read(tmp_path):
    lines = ["{broken", *(json.dumps({"_id": doc_id, "text": "x"}) for doc_id in IDS[:3])]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    second = read_passages(tmp_path / "c.jsonl", share=Share(2, 2))
    assert [one.doc_id for one in second] == ["d1", "d2"]
    with pytest.raises(InputError, match=r"c\.jsonl:1: "):
        list(read_passages(tmp_path / "c.jsonl", share=Share(1, 2)))


def test_standard_input_has_no_shares():
    with pytest.raises(InputError, match="share 2/3 of, found standard input; store it first"):
        read_passages("-", share=Share(2, 3))


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1 /2"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InputError, match="expected a share such as 2/8"):
        Share.parse(text)
    assert Share.parse("2/8") == Share(2, 8)
