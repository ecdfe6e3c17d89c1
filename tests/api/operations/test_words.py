"""Synonyms and stop words over HTTP: replaced in one step, found at once, refused by one line."""

PATH = "/v1/indexes/birds/synonyms"


def test_synonyms_are_found_as_soon_as_they_are_put(home):
    home.create(documents=[{"_id": "owl", "text": "an owl"}, {"_id": "strix", "text": "a strix"}])
    assert home.ask("GET", PATH)["synonyms"] == []
    assert home.found("owl") == ["owl"]
    put = home.ask("PUT", PATH, json={"synonyms": ["owl, strix"], "stop_words": ["bird"]})
    assert (put["synonyms"], put["stop_words"]) == (["owl, strix"], ["bird"])
    assert set(home.found("owl")) == {"owl", "strix"}
    answer = home.search("bird owl")
    assert answer["understood"]["also"] == [{"from": "owl", "to": "strix"}]
    assert answer["understood"]["left_out"] == ["bird"]
    home.add([{"_id": "bubo", "text": "strix bubo"}])
    assert set(home.found("owl")) == {"owl", "strix", "bubo"}
    home.ask("PUT", PATH, json={"synonyms": []})
    assert home.found("owl") == ["owl"]


def test_faulty_rules_are_refused_and_change_nothing(home):
    home.create()
    refused = home.ask("PUT", PATH, 422, json={"synonyms": ["owl, strix", "owl"]})
    assert "rule 2" in refused["detail"]
    assert home.ask("GET", PATH)["synonyms"] == []
    home.ask("GET", "/v1/indexes/none/synonyms", 404)
