"""Languages: noticed, told, and searched through the words alone."""

import pytest

from tamis.retriever import LexicalConfig, Passage, Searcher, index_corpus
from tamis.retriever.corpus.languages import MULTILINGUAL, advice, language_of, languages_of

SAMPLES = {
    "english": "The sieve is used to take the stones out of the soil before it is sold.",
    "german": "Das Sieb wird auch in der Küche benutzt, um die Kerne von den Früchten zu trennen.",
    "french": "Le tamis est utilisé dans la cuisine pour séparer les grains de la farine.",
    "spanish": "El tamiz se usa en la cocina para separar los granos de la harina.",
    "russian": "Сито используется на кухне, чтобы отделить муку от крупных частиц, и не только.",
    "arabic": "يستخدم المنخل في المطبخ من أجل فصل الدقيق عن الحبوب ولا يستخدم في غير ذلك",
    "japanese": "ふるいは台所で小麦粉をふるうために使われる道具です。",
    "chinese": "筛子在厨房里用来筛面粉。",
    "korean": "체는 부엌에서 밀가루를 거르는 데 사용됩니다.",
    "thai": "ตะแกรงใช้ในครัวเพื่อร่อนแป้ง",
    "greek": "Κόσκινο χρησιμοποιείται στην κουζίνα.",
    "other": "42 x86_64 9.81 ...",
}


@pytest.mark.parametrize(("language", "text"), SAMPLES.items())
def test_languages_are_told_by_script_and_function_words(language, text):
    assert language_of(text) == language


def test_shares_of_languages_sum_to_one():
    shares = languages_of(SAMPLES.values())
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["german"] == pytest.approx(1 / len(SAMPLES))
    assert languages_of([]) == {}


@pytest.mark.parametrize(
    ("shares", "encoder", "language", "said"),
    [
        ({"english": 1.0}, "default", "english", ""),
        ({"english": 0.95, "other": 0.05}, "default", "english", ""),
        ({"japanese": 1.0}, "default", "english", MULTILINGUAL),
        (
            {"english": 0.8, "german": 0.2},
            "default",
            None,
            "about 20% of the corpus is not English",
        ),
        ({"german": 1.0}, "", "english", "stemmed as english; use --language german"),
        ({"german": 1.0}, "elsewhere", "german", ""),
        ({"danish": 0.6, "norwegian": 0.4}, "", "norwegian", ""),  # too alike to tell
        ({"english": 1.0}, "", "porter", ""),
        ({"german": 1.0}, "", "none", ""),
        ({"other": 1.0}, "default", "english", ""),
    ],
)
def test_advice_is_given_where_settings_do_not_suit_the_corpus(shares, encoder, language, said):
    found = advice(shares, encoder, language)
    assert said in found
    assert bool(said) == bool(found)


def test_indexing_warns_of_another_language(tmp_path):
    german = [Passage(f"d{i}", SAMPLES["german"]) for i in range(3)]
    with pytest.warns(UserWarning, match="c: words are stemmed as english; use --language german"):
        index_corpus(german, tmp_path / "i", encoder=None, source="c")


CORPORA = {
    "german": [
        "Die Bäckerin siebte das Mehl, bevor sie den Teig knetete.",
        "Im Garten wachsen Äpfel und Kirschbäume.",
        "Der Zug nach Straßburg fährt um acht Uhr ab.",
    ],
    "french": [
        "La boulangère a tamisé la farine avant de pétrir la pâte.",
        "Les pommiers fleurissent dans le jardin de l'école.",
        "Le train pour Strasbourg part à huit heures.",
    ],
    "arabic": [
        "نخلت الخبازة الدقيق قبل أن تعجن العجين.",
        "تنمو أشجار التفاح في حديقة المدرسة.",
        "يغادر القطار إلى المدينة في الساعة الثامنة.",
    ],
    "japanese": [
        "パン屋は生地をこねる前に小麦粉をふるいにかけた。",
        "学校の庭にはりんごの木が育っている。",
        "東京行きの電車は八時に出発します。",
    ],
}


@pytest.mark.parametrize(
    ("corpus", "language", "query", "place"),
    [
        ("german", "german", "Mehle sieben und gesiebt", 0),  # other forms of the words
        ("german", "german", "Kirschbaeume Kirschbäumen", 1),
        ("german", "german", "STRASSBURG", 2),  # capitals of a sharp s
        ("french", "french", "tamiser des farines", 0),
        ("french", "french", "ecoles", 1),  # typed without the accent
        ("french", "french", "trains partant", 2),
        ("arabic", "arabic", "الدَّقِيقَ", 0),  # with the vowel signs that the text leaves out
        ("arabic", "arabic", "حدائق المدارس حديقة", 1),
        ("arabic", "arabic", "قطار", 2),  # without the article
        ("japanese", "none", "小麦粉", 0),
        ("japanese", "bigrams", "りんご", 1),
        ("japanese", "none", "東京の電車", 2),
        ("japanese", "none", "ﾊﾟﾝ", 0),  # half-width kana
    ],
)
def test_other_languages_are_found_by_their_words(tmp_path, corpus, language, query, place):
    passages = [Passage(f"{n}", text) for n, text in enumerate(CORPORA[corpus])]
    index_corpus(passages, tmp_path / "i", encoder=None, lexical=LexicalConfig(language=language))
    (result,) = Searcher.open(tmp_path / "i").search([query], explain=True)
    assert result.hits[0].doc_id == str(place)
    total = sum(term.contribution for term in result.hits[0].matched_terms)
    assert total == pytest.approx(result.hits[0].score, abs=1e-4)


def test_the_default_encoder_says_which_model_reads_other_languages(tmp_path):
    from letter_encoder import LetterEncoder

    encoder = LetterEncoder()
    encoder.location = "default"
    passages = [Passage(f"{n}", text) for n, text in enumerate(CORPORA["japanese"])]
    with pytest.warns(
        UserWarning, match="100% of the corpus is not English .japanese 100%.*" + MULTILINGUAL
    ):
        index_corpus(passages, tmp_path / "i", encoder=encoder, source="c")
