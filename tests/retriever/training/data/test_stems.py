import numpy as np

from tamis.retriever.models.tokenizer import Tokenizer
from tamis.retriever.training.data.stems import WordTable, build_word_table
from tamis.retriever.training.data.token_rows import TokenRows, tokenise
from tamis.retriever.words.analysis import Analyzer, LexicalConfig


def build(base, texts):
    tokenizer = Tokenizer.load(base, 32)
    rows = tokenise(texts, tokenizer, 30)
    return rows, build_word_table([rows], tokenizer, Analyzer(LexicalConfig()))


def test_pieces_of_a_word_give_its_stem_and_stop_words_give_none(base):
    rows, table = build(base, ["the bans of ban", "cans", "the of"])
    words = table.words(rows)
    ban, can = words.row(0), words.row(1)
    assert len(ban) == 2
    assert ban[0] == ban[1]  # bans, in two pieces, and ban have one stem
    assert len(can) == 1
    assert can[0] != ban[0]
    assert len(words.row(2)) == 0
    assert table.stem_count == 2


def test_words_that_the_table_has_not_seen_are_left_out(base):
    _, table = build(base, ["ban"])
    unseen = tokenise(["can ban"], Tokenizer.load(base, 32), 30)
    assert len(table.words(unseen).row(0)) == 1


def test_a_table_survives_being_saved(base, tmp_path):
    rows, table = build(base, ["the bans of ban", "cans"])
    table.save(tmp_path / "w.safetensors")
    loaded = WordTable.load(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(loaded.words(rows).ids, table.words(rows).ids)
    assert loaded.stem_count == table.stem_count


def test_texts_without_tokens_have_no_words(base):
    _, table = build(base, ["ban"])
    assert len(table.words(TokenRows.of([[], []]))) == 2
