"""Token ids equal to transformers', and tokenizer files of every age."""

import json

import pytest
import tiny_checkpoints as tiny
import transformers

from tamis.index.errors import FormatError
from tamis.retriever.models.tokenizer import Pieces, Tokenizer


@pytest.mark.parametrize("write", [tiny.write_bert, tiny.write_roberta, tiny.write_xlm_roberta])
def test_ids_equal_those_of_transformers(tmp_path, write):
    tokenizer = Tokenizer.load(write(tmp_path), 12)
    peer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    expected = peer(tiny.TEXTS, truncation=True, max_length=12)["input_ids"]
    assert tokenizer.document_ids(tiny.TEXTS) == expected
    bare = peer(tiny.TEXTS, truncation=True, max_length=12, add_special_tokens=False)["input_ids"]
    assert tokenizer.bare_ids(tiny.TEXTS) == bare


def test_padding_and_truncation_kept_in_the_file_are_overruled(tmp_path):
    tokenizer = Tokenizer.load(tiny.write_bert(tmp_path), 64)
    tokenizer.backend.enable_padding(length=30)
    tokenizer.backend.enable_truncation(5)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path, 20)
    lengths = [len(ids) for ids in again.document_ids(tiny.TEXTS)]
    assert min(lengths) < 5
    assert max(lengths) == 20


def test_special_ids_are_those_that_stand_for_no_text(tmp_path):
    tokenizer = Tokenizer.load(tiny.write_bert(tmp_path), 64)
    assert tokenizer.special_ids == frozenset(range(len(tiny.SPECIAL)))
    assert tokenizer.term_id("[CLS]") is None


def test_a_row_that_no_text_produces_prints_as_its_number(tmp_path):
    tokenizer = Tokenizer.load(tiny.write_bert(tmp_path), 64)
    pieces = Pieces(tokenizer, tokenizer.size + 2)
    name = f"<{tokenizer.size}>"
    assert (pieces.name(tokenizer.size), pieces.term(name)) == (name, tokenizer.size)
    assert pieces.term(f"<{pieces.size}>") is None
    assert pieces.term("<3>") is None  # a piece has its own name


def test_a_folder_with_vocabulary_alone_is_converted(tmp_path):
    tiny.write_bert(tmp_path / "new")
    modern = Tokenizer.load(tmp_path / "new", 64)
    pieces = [modern.piece(term) for term in range(modern.size)]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (tmp_path / "old" / "config.json").write_text('{"model_type": "bert"}')
    converted = Tokenizer.load(tmp_path / "old", 64)
    assert converted.document_ids(tiny.TEXTS) == modern.document_ids(tiny.TEXTS)
    assert converted.special_ids == modern.special_ids


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"expected tokenizer\.json, found no tokenizer file"):
        Tokenizer.load(tmp_path, 64)


def test_a_broken_tokenizer_file_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match="expected a tokenizer of the tokenizers library"):
        Tokenizer.load(tmp_path, 64)


def state(folder, name, **values):
    path = folder / name
    stated = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(stated | values))


def test_tokens_that_are_only_named_special_are_special(tmp_path):
    folder = tiny.write_bert(tmp_path)
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["added_tokens"] = [one for one in stored["added_tokens"] if one["content"] != "[MASK]"]
    path.write_text(json.dumps(stored))
    (folder / "tokenizer_config.json").unlink()
    assert 4 not in Tokenizer.load(folder, 64).special_ids
    state(folder, "special_tokens_map.json", mask_token={"content": "[MASK]", "lstrip": True})
    found = Tokenizer.load(folder, 64)
    assert 4 in found.special_ids
    state(folder, "tokenizer_config.json", tokenizer_class="TokenizersBackend", mask_token="[MASK]")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    text = "keeps [MASK] grains"
    assert Tokenizer.load(folder, 64).document_ids([text]) == [theirs(text)["input_ids"]]


def test_a_named_token_that_the_vocabulary_lacks_adds_no_row(tmp_path):
    folder = tiny.write_bert(tmp_path)
    before = Tokenizer.load(folder, 64).count
    state(folder, "tokenizer_config.json", pad_token="<nowhere>")
    assert Tokenizer.load(folder, 64).count == before


def test_the_file_itself_may_say_that_texts_are_cut_on_the_left(tmp_path):
    folder = tiny.write_bert(tmp_path / "a")
    long = "one two three four five six seven eight"
    first = Tokenizer.load(folder, 5).document_ids([long])[0]
    state(folder, "tokenizer_config.json", truncation_side="left")
    last = Tokenizer.load(folder, 5)
    last.save(tmp_path)  # what is written says it alone
    assert Tokenizer.load(tmp_path, 5).document_ids([long]) == last.document_ids([long])
    whole = last.untruncated().document_ids([long])[0]
    assert first == [*whole[:4], whole[-1]]
    assert last.document_ids([long])[0] == [whole[0], *whole[-4:]]


def test_a_tokenizer_that_lower_cases_although_its_file_does_not_is_refused(tmp_path):
    folder = tiny.write_xlm_roberta(tmp_path)
    state(folder, "tokenizer_config.json", tokenizer_class="AlbertTokenizer", do_lower_case=True)
    with pytest.raises(FormatError, match=r"expected do_lower_case as tokenizer\.json does"):
        Tokenizer.load(folder, 64)


def test_a_space_before_the_first_word_is_of_a_model_s_own_class(tmp_path):
    folder = tiny.write_roberta(tmp_path)
    before = Tokenizer.load(folder, 64).document_ids(["grains"])
    state(folder, "tokenizer_config.json", add_prefix_space=True)
    assert Tokenizer.load(folder, 64).document_ids(["grains"]) == before
    state(folder, "tokenizer_config.json", tokenizer_class="RobertaTokenizer")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    found = Tokenizer.load(folder, 64).bare_ids(["grains"])
    assert found != [before[0][1:-1]]
    assert found == [theirs("grains", add_special_tokens=False)["input_ids"]]
