"""A collection of several languages: found, shown, corrected, written and merged as each alone."""

from __future__ import annotations

import warnings

import pytest

from tamis.index import Collection
from tamis.index.errors import InputError
from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, create_index, index_corpus
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.highlights import highlight
from tamis.retriever.words.fields import TextField

SEVERAL = LexicalConfig(language="english", languages=("german", "french"), language_field="lang")
TEXTS = {
    "en1": ("en", "Owls were hunting at night in the old forests."),
    "en2": ("en", "A sieve lets fine flour through; television came later."),
    "de1": ("de", "Die Eulen jagten nachts in den alten Wäldern."),
    "de2": ("de", "Ein Sieb lässt feines Mehl durch."),
    "fr1": ("fr", "Les chouettes chassaient la nuit dans les vieilles forêts."),
    "fr2": ("fr", "Un tamis laisse passer la farine de l'hiver."),
}


def passages(names=tuple(TEXTS)):
    return [Passage(name, TEXTS[name][1], fields={"lang": TEXTS[name][0]}) for name in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixed") / "index"
    index_corpus(passages(), path, encoder=None, lexical=SEVERAL).close()
    return path


@pytest.fixture(scope="module")
def searcher(folder):
    return Searcher.open(folder)


def found(searcher, text, **options):
    (result,) = searcher.search([text], exact=True, **options)
    return [hit.doc_id for hit in result.hits]


@pytest.mark.parametrize(
    ("text", "doc_id"),
    [("hunt", "en1"), ("jagte", "de1"), ("Wald", "de1"), ("wälder", "de1"), ("chassait", "fr1"),
     ("forêt", "fr1"), ("hiver", "fr2"), ("Siebe", "de2")],
)  # fmt: skip
def test_words_are_found_in_the_form_that_their_language_gives(searcher, text, doc_id):
    assert found(searcher, text) == [doc_id]


def test_a_given_language_is_searched_alone(searcher):
    assert found(searcher, "jagte", language="de") == ["de1"]
    assert found(searcher, "chassait", language="german") == []
    with pytest.raises(InputError, match="of the index: english, german, french, found 'it'"):
        found(searcher, "jagte", language="it")


def test_each_language_ranks_as_a_collection_of_its_own_does(searcher, tmp_path):
    names = [name for name, (language, _) in TEXTS.items() if language == "fr"]
    lexical = LexicalConfig(language="french")
    index_corpus(passages(names), tmp_path / "fr", encoder=None, lexical=lexical).close()
    own = Searcher.open(tmp_path / "fr")
    for text in ("farine chassait", "la nuit des chouettes", "tamis passer"):
        ours = found(searcher, text, language="fr")
        assert ours == found(own, text)


def test_highlights_mark_whole_words_of_the_documents_language(searcher):
    (result,) = searcher.search(["jagte Wälder"], explain=True)
    spans = highlight(searcher, result.hits[0])["text"]
    assert [span.text for span in spans if span.match] == ["jagten", "Wäldern"]


def test_a_language_is_not_patched_as_it_decides_the_words(tmp_path):
    create_index(tmp_path / "index", encoder=None, lexical=SEVERAL)
    with Editor.open(tmp_path / "index") as editor:
        editor.put(passages())
        with pytest.raises(InputError, match="not searched, found lang for document 'de1'; put"):
            editor.patch({"de1": {"lang": "en"}})
        assert editor.patch({"de1": {"price": 7}}) == []


@pytest.mark.parametrize(
    ("languages", "named", "text", "phrases"),
    [
        (("english", "turkish"), "en", "He lives In New York", ["in new york", "In New York"]),
        (("english", "german"), "en", "The café near Zürich", ["cafe near", "café near"]),
        (("english", "korean"), "ko", "대한민국 사람", ["대한", "민국"]),
    ],
)
def test_a_phrase_stands_as_in_a_collection_of_its_language(
    tmp_path, languages, named, text, phrases
):
    own = languages[named == "ko"]
    settings = [
        LexicalConfig(language=own),
        *(
            LexicalConfig(language=first, languages=(other,), language_field="lang")
            for first, other in (languages, languages[::-1])
        ),
    ]
    for number, lexical in enumerate(settings):
        path, passage = tmp_path / str(number), Passage("d", text, fields={"lang": named})
        index_corpus([passage], path, encoder=None, lexical=lexical).close()
        searcher = Searcher.open(path)
        for phrase in phrases:
            assert found(searcher, f'"{phrase}"', syntax="operators") == ["d"], (lexical, phrase)


def test_phrases_and_signs_hold_in_every_language(searcher):
    operators = {"syntax": "operators"}
    assert found(searcher, '"alten Wäldern"', **operators) == ["de1"]
    assert found(searcher, '"la nuit"', **operators) == ["fr1"]
    assert found(searcher, '"at night"', **operators) == ["en1"]
    assert found(searcher, "farine +chassaient", **operators) == ["fr1"]
    assert found(searcher, "owls eulen -jagten", **operators) == ["en1"]
    assert found(searcher, "chouett*", **operators) == ["fr1"]


def test_typing_errors_are_corrected_in_every_language(searcher):
    for wrong, right in (("televison", "en2"), ("chouetes", "fr1"), ("forests", "en1")):
        assert found(searcher, wrong, typos="auto") == [right]


def test_words_are_suggested_as_documents_write_them(searcher):
    assert [one.text for one in searcher.suggest("chou", 3)] == ["chouettes"]
    assert [one.text for one in searcher.suggest("wäl", 3)] == ["wäldern"]


def test_live_writes_are_analysed_in_their_language_and_survive_a_merge(folder, tmp_path):
    create_index(tmp_path / "live", encoder=None, lexical=SEVERAL)
    with Editor.open(tmp_path / "live") as editor:
        for passage in passages():
            editor.put([passage], wait="searchable")
        live = Searcher.open(tmp_path / "live")
        once = {text: found(live, text) for text in ("jagte", "chassait", "hunt", "farine")}
        editor.optimize()
    whole = Searcher.open(tmp_path / "live")
    built = Searcher.open(folder)
    for text, hits in once.items():
        assert found(whole, text) == hits == found(built, text) != []


def test_a_language_that_a_collection_has_not_is_told(tmp_path):
    other = Passage("sw1", "Bundi huwinda usiku.", fields={"lang": "sw"})
    with pytest.warns(CorpusWarning, match=r"in the field 'lang', found sw \(1\): 1 documents are"):
        index_corpus([*passages(), other], tmp_path / "i", encoder=None, lexical=SEVERAL).close()


def test_searched_fields_have_the_language_of_their_document(tmp_path):
    lexical = LexicalConfig(
        language="english", languages=("german",), language_field="lang",
        fields=(TextField("title", 3), TextField("text")),
    )  # fmt: skip
    documents = [
        Passage("1", "Eulen jagten.", "Die Wälder", fields={"lang": "de"}),
        Passage("2", "Owls were hunting.", "The forests", fields={"lang": "en"}),
    ]
    index_corpus(documents, tmp_path / "i", encoder=None, lexical=lexical).close()
    searcher = Searcher.open(tmp_path / "i")
    assert found(searcher, "title:wälder", syntax="operators") == ["1"]
    assert found(searcher, "forest") == ["2"]
    (result,) = searcher.search(["jagte"], explain=True)
    (term,) = result.hits[0].matched_terms
    assert term.fields == {"text": pytest.approx(term.contribution)}


def test_collections_of_one_language_record_nothing_of_several(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index_corpus(passages(["de1"]), tmp_path / "i", encoder=None,
                     lexical=LexicalConfig(language="german")).close()  # fmt: skip
    manifest = next((tmp_path / "i").glob("*manifest*"), None) or next(
        (tmp_path / "i").glob("*.json")
    )
    assert b"several_languages" not in manifest.read_bytes()
    assert Collection.open(tmp_path / "i").settings.lexical.language == "german"
