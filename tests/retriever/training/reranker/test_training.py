"""Lists, students and trainer: a needle is learned from random weights, and from nothing is not."""

import numpy as np
import pytest
import torch
import transformers
from block_lists import dense_mask

from tamis.retriever.rerank.backbone import Backbone
from tamis.retriever.rerank.layout import BlockLayout, BlockSizes
from tamis.retriever.rerank.prompt import PromptBuilder, Template
from tamis.retriever.rerank.readout import Readout
from tamis.retriever.training.data.token_rows import TokenRows
from tamis.retriever.training.reranker import trainer as trainer_module
from tamis.retriever.training.reranker.mining import Candidates, mine, vectors, word_weights
from tamis.retriever.training.reranker.objective import LearnedReadout, list_loss
from tamis.retriever.training.reranker.starting_model import start_from_bi_encoder
from tamis.retriever.training.reranker.students import (
    BlockStudent,
    CrossStudent,
    DecoderStudent,
    PackedModel,
    PackedRows,
    TokenList,
)
from tamis.retriever.training.reranker.trainer import ListData, ListTrainer, ListTraining

SIZES = BlockSizes(prefix=16, document=24, query=16)


def small_bert(seed=0, layers=2):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=70,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.BertModel(config, add_pooling_layer=False)


def prompts():
    import tokenizers

    words = {"[CLS]": 1, "[SEP]": 2} | {f"w{i}": i for i in range(3, 70)} | {"[UNK]": 0}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]"))
    backend.add_special_tokens(["[CLS]", "[SEP]"])
    template = Template("[CLS]{query}[SEP]", "[CLS]", "{text}[SEP]", "{query}[SEP]")
    return PromptBuilder(backend, template, SIZES)


def block_student(seed=0):
    model = small_bert(seed)
    started = start_from_bi_encoder(model.state_dict(), model.config, SIZES, 0.5)
    return BlockStudent(
        Backbone(started, 2, 2), prompts(), LearnedReadout(4, 2.0, ("query", "none"))
    )


def random_data(seed=0, queries=40, passages=60):
    generator = np.random.default_rng(seed)

    def rows(count, low, high):
        lengths = generator.integers(low, high, count)
        return TokenRows.of([generator.integers(3, 70, n) for n in lengths])

    found = Candidates(
        np.stack([generator.permutation(passages)[:9] for _ in range(queries)]).astype(np.int32),
        *generator.normal(size=(2, queries, 9)).astype(np.float32),
    )
    return ListData(rows(queries, 2, 6), rows(passages, 4, 20), found, np.ones(queries))


def test_the_starting_model_ranks_as_the_bi_encoder_it_was_made_of():
    data, student = random_data(), block_student()
    scores = student.scores(student.pack([token_list(data)], "none"))
    bi = PackedModel(small_bert())
    documents = PackedRows.pack([[1, *row, 2] for row in token_list(data).documents])
    query = PackedRows.pack([[1, *token_list(data).query, 2]])
    with torch.inference_mode():
        hidden = [(bi.hidden(texts), texts.starts) for texts in (documents, query)]
    ends = [*hidden[0][1].tolist()[1:], len(hidden[0][0])]
    means = [  # without [CLS], which belongs to the prefix
        hidden[0][0][start + 1 : stop].mean(0)
        for start, stop in zip(hidden[0][1].tolist(), ends, strict=True)
    ]
    products = torch.stack(means) @ hidden[1][0][1:].mean(0)
    assert torch.corrcoef(torch.stack([scores.detach(), products]))[0, 1] > 0.9


def token_list(data, query=0):
    passages = data.candidates.passages[query].tolist()
    return TokenList(
        data.queries.row(query).tolist(), [data.passages.row(i).tolist() for i in passages]
    )


def test_packed_texts_have_the_hidden_states_of_padded_ones():
    rows = [[1, 5, 6, 7, 2], [1, 9, 2], [1, 2]]
    padded = torch.zeros(3, 5, dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row)
    plain = small_bert().eval()
    with torch.inference_mode():
        wanted = plain(padded, attention_mask=(padded > 0).long()).last_hidden_state
        found = PackedModel(small_bert().eval()).hidden(PackedRows.pack(rows))
    wanted = torch.cat([wanted[i, : len(row)] for i, row in enumerate(rows)])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert dense_mask(np.array([0, 5, 8, 10]), np.array([0, 3]), causal=False).sum() > 0


@pytest.mark.parametrize("kind", ["block", "cross"])
@pytest.mark.long
def test_every_student_learns_lists_by_heart(kind):
    data = random_data()
    student = {
        "block": block_student,
        "cross": lambda: CrossStudent(small_bert(), (1, 2), (8, 24)),
    }[kind]()
    config = ListTraining(
        steps=60, lists=8, documents=6, rate=2e-3, new_rate=5e-3, teacher_share=0.0
    )
    losses = []
    trainer = ListTrainer(student, data, config, ("readout", "score"))
    trainer.run(lambda row: losses.append(row["loss"]))
    assert losses[-1] < losses[0] - 0.15
    assert all(torch.isfinite(p).all() for p in student.parameters())


class KnowsTokens(torch.nn.Module):
    """A teacher that wants documents with many tokens of the upper half."""

    def pack(self, lists, conditioning):
        documents = [document for one in lists for document in one.documents]
        return torch.tensor([np.mean(np.array(document) >= 36) for document in documents])

    def scores(self, packed):
        return 12 * packed


@pytest.mark.parametrize("teacher", [KnowsTokens(), None])
@pytest.mark.long
def test_what_a_teacher_that_reads_says_is_learned_without_any_label(teacher):
    data = random_data(queries=200, passages=200)
    data.candidates.passages[:, 0] = -1
    config = ListTraining(
        steps=80, lists=8, documents=6, rate=2e-3, new_rate=5e-3, cosine_weight=0, words_weight=0
    )
    student = CrossStudent(small_bert(), (1, 2), (8, 24))
    ListTrainer(student, data, config, ("score",), teacher).run(lambda row: None)
    new = [token_list(random_data(seed=5), query) for query in range(40)]
    with torch.inference_mode():
        found = student.scores(student.pack(new, "none")).view(40, -1)
    wanted = KnowsTokens().scores(KnowsTokens().pack(new, "none")).view(40, -1)
    agreed = [np.corrcoef(one, other)[0, 1] for one, other in zip(found, wanted, strict=True)]
    assert (np.mean(agreed) > 0.4) == (teacher is not None)


def test_what_is_taught_is_the_weighted_sum_of_cosine_bm25_and_the_model(monkeypatch):
    data, taught = random_data(), []
    monkeypatch.setattr(
        trainer_module, "list_loss", lambda s, p, t, share: taught.append(t) or s.sum()
    )
    student = CrossStudent(small_bert(), (1, 2), (8, 24))
    config = ListTraining(
        steps=1, lists=4, documents=9, cosine_weight=10, words_weight=0.5, model_weight=0.25
    )
    ListTrainer(student, data, config, (), KnowsTokens()).run(lambda row: None)
    wanted = {}  # by what the mined candidates sum to, which tells a query's list in any order
    for query in range(40):
        found, one = data.candidates, token_list(data, query)
        model = KnowsTokens().scores(KnowsTokens().pack([one], "none")).numpy()
        mixed = 10 * found.cosine[query] + 0.5 * found.words[query] + 0.25 * model
        wanted[round(float(mixed.sum()), 3)] = np.sort(mixed)
    for row in taught[0].numpy():
        near = min(wanted, key=lambda total: abs(total - row.sum()))
        np.testing.assert_allclose(np.sort(row), wanted[near], atol=1e-4)


def decoder(tmp_path, said=5):
    """A whole tiny Llama: its causal language model, and a student made of the same weights."""
    torch.manual_seed(4)
    config = transformers.LlamaConfig(
        vocab_size=70,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    whole = transformers.LlamaForCausalLM(config).eval()
    for weight in whole.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.2)
    whole.save_pretrained(tmp_path)
    backbone = Backbone(whole.model, 1)
    return DecoderStudent(backbone, whole.lm_head, prompts(), said=said)


def test_what_a_decoder_says_costs_what_its_own_language_model_would_charge(tmp_path):
    student, data = decoder(tmp_path), random_data()
    lists = [token_list(data, 0)._replace(labelled=2), token_list(data, 1)]
    lists.append(token_list(data, 2)._replace(labelled=8))
    layout = student.pack(lists, "query")
    said = np.diff(layout.answers)[:, 0].tolist()
    assert said == [
        min(5, len(one.documents[one.labelled])) if one.labelled else 0 for one in lists
    ]
    scores, loss = student.scores_and_answers(layout)
    model = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", local_files_only=True
    ).eval()
    mask = dense_mask(layout.bounds, layout.lists, causal=True)
    labels = torch.full(layout.ids.shape, -100)
    for number, one in enumerate(lists):
        start, stop = layout.answers[number].tolist()
        assert stop == layout.bounds[layout.lists[number + 1]]
        if one.labelled is not None:
            labels[start:stop] = torch.tensor(one.documents[one.labelled][: stop - start])
    wanted = model(
        input_ids=torch.from_numpy(layout.ids)[None],
        position_ids=torch.from_numpy(layout.positions)[None],
        attention_mask=torch.zeros(mask.shape).masked_fill(~mask, torch.finfo().min)[None, None],
        labels=labels[None],
        use_cache=False,
    ).loss
    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-5)
    plain = student.scores(student.pack([one._replace(labelled=None) for one in lists], "query"))
    torch.testing.assert_close(scores, plain, rtol=0, atol=1e-4)
    loss.backward()
    assert student.backbone.model.layers[2].mlp.up_proj.weight.grad.abs().sum() > 0


@pytest.mark.long
def test_a_decoder_learns_lists_and_what_to_say_by_heart(tmp_path):
    data, student = random_data(), decoder(tmp_path, said=3)
    config = ListTraining(steps=50, lists=8, documents=6, rate=3e-3, teacher_share=0.0)
    labelled = student.pack([token_list(data, i)._replace(labelled=0) for i in range(8)], "query")

    def losses():
        with torch.inference_mode():
            scores, said = student.scores_and_answers(labelled)
        return -scores.view(8, -1).log_softmax(1)[:, 0].mean().item(), said.item()

    before = losses()
    ListTrainer(student, data, config, ("none",), next_token=0.5).run(lambda row: None)
    after = losses()
    assert after[0] < before[0] - 0.1
    assert after[1] < before[1] - 0.5


def test_mining_finds_what_an_exhaustive_search_finds():
    generator = np.random.default_rng(3)
    passages = TokenRows.of([generator.integers(3, 70, n) for n in generator.integers(3, 20, 50)])
    queries = TokenRows.of([generator.integers(3, 70, 4) for _ in range(7)])
    model = PackedModel(small_bert().eval())
    dense = vectors(model, passages, (1, 2))
    asked = vectors(model, queries, (1, 2))
    words = word_weights(passages, 70, torch.device("cpu"))
    positives = np.array([4, -1, 9, -1, 0, 3, 2])
    others = np.array([7, -1, -1, -1, 49, 5, 6])  # right as well: neither first nor mined
    known = np.stack([positives, others], 1)
    found = mine(queries, known, (dense, words), asked, 5)
    assert found.passages.shape == found.cosine.shape == found.words.shape == (7, 11)
    assert (found.passages[:, 0] == positives).all()
    for i, row in enumerate(found.passages.tolist()):
        assert len(set(row)) == 11
        order = torch.argsort(-(asked[i].float() @ dense.float().T), stable=True).tolist()
        wanted = [passage for passage in order if passage not in known[i]][:5]
        assert set(row[1:6]) == set(wanted)
        values, taken = bm25(queries.row(i), passages), {*known[i], *wanted}
        rest = [p for p in np.argsort(-values, kind="stable").tolist() if p not in taken]
        assert found.words[i, 1:] == pytest.approx(values[row[1:]], abs=1e-4)
        cosines = (asked[i].float() @ dense.float().T)[row[1:]]
        assert found.cosine[i, 1:] == pytest.approx(cosines.numpy(), abs=1e-3)
        assert values[row[6:]].tolist() == pytest.approx(values[rest[:5]].tolist(), abs=1e-5)


def bm25(query, passages, k1=0.9, b=0.4):
    """Term by term, from the formula."""
    scores, mean = np.zeros(len(passages)), passages.lengths.mean()
    for i in range(len(passages)):
        row = passages.row(i).tolist()
        for term in query.tolist():
            tf = row.count(term)
            df = sum(term in passages.row(j) for j in range(len(passages)))
            idf = np.log(1 + (len(passages) - df + 0.5) / (df + 0.5))
            scores[i] += idf * tf / (tf + k1 * (1 - b + b * len(row) / mean))
    return scores


def test_losses_equal_their_formulas():
    scores = torch.tensor([[1.0, 2.0, 0.5]])
    positive = torch.tensor([[False, True, False]])
    teacher = torch.tensor([[0.0, 1.0, 1.0]])
    log = torch.log(torch.exp(scores) / torch.exp(scores).sum())
    soft = torch.exp(teacher) / torch.exp(teacher).sum()
    wanted = -(0.75 * log[0, 1] + 0.25 * (soft * log).sum())
    assert list_loss(scores, positive, teacher, 0.25).item() == pytest.approx(wanted.item())
    alone = -(soft * log).sum()
    assert list_loss(scores, positive & False, teacher, 0.25).item() == pytest.approx(alone.item())


def test_a_learned_readout_is_the_readout_it_is_stored_as():
    data, student = random_data(), block_student()
    torch.nn.init.normal_(student.readout.heads["query"])
    layout, conditioning = student.pack([token_list(data, 0), token_list(data, 1)], "query")
    with torch.inference_mode():
        found = student.scores((layout, conditioning))
        mass = student.backbone(layout)
    stored = student.readout.settings()["query"]
    for number, part in enumerate(mass.split(np.diff(layout.documents).tolist())):
        s0, s1 = layout.signals[number]
        rows = slice(*layout.documents[number : number + 2])
        lengths = torch.from_numpy(np.diff(layout.segments[rows, 2:])[:, 0])
        wanted = stored.scores(part[:, : s1 - s0], lengths)
        torch.testing.assert_close(found[rows], wanted, rtol=1e-4, atol=1e-4)


def needle_batch(generator, lists, documents, *, shuffled=False):
    """Documents hold a key and a value; the query names the key of one."""
    blocks, targets = [], []
    for _ in range(lists):
        keys = generator.permutation(np.arange(3, 67))[:documents]
        rows = [
            [*generator.integers(3, 67, 2) % 3 + 67, key, *generator.integers(67, 70, 3)]
            for key in keys.tolist()
        ]
        target = int(generator.integers(documents))
        blocks.append(TokenList([int(keys[target])], rows))
        targets.append(int(generator.integers(documents)) if shuffled else target)
    return blocks, torch.tensor(targets)


def train_needle(*, shuffled):
    torch.set_num_threads(1)
    model = small_bert(1)
    for weight in model.parameters():
        if weight.ndim == 2:  # five times BERT's own: attention starts to tell tokens apart
            torch.nn.init.normal_(weight, std=0.1)
    backbone = Backbone(model, 1)
    builder, generator = prompts(), np.random.default_rng(0)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)

    def shares(blocks):
        built = [builder.build_from_ids(b.query, b.documents, "none") for b in blocks]
        layout = BlockLayout.pack(built, SIZES)
        parts = backbone(layout).split(np.diff(layout.documents).tolist())
        lengths = torch.ones(len(blocks[0].documents))
        return torch.stack([Readout().scores(part, lengths) for part in parts])

    for _ in range(90):
        blocks, targets = needle_batch(generator, 24, 8, shuffled=shuffled)
        hit = torch.nn.functional.one_hot(targets, 8).bool()
        loss = list_loss(shares(blocks) / 0.05, hit, torch.zeros(hit.shape), 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    blocks, targets = needle_batch(generator, 100, 32)
    with torch.inference_mode():
        return (shares(blocks).argmax(1) == targets).float().mean().item()


@pytest.mark.long
def test_a_needle_is_found_among_32_documents():
    assert train_needle(shuffled=False) > 0.95


@pytest.mark.long
def test_shuffled_labels_teach_nothing():
    assert train_needle(shuffled=True) < 0.15
