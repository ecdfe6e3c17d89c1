import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.numpy import load_file

from tamis.index.errors import InputError, MismatchError
from tamis.retriever import load_encoder
from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.training.config import EncoderConfig
from tamis.retriever.training.data.training_data import load_or_prepare
from tamis.retriever.training.health import TrainingError
from tamis.retriever.training.student import load_student
from tamis.retriever.training.trainer import Trainer, train

LEARNS = {"steps": 120, "warmup_steps": 10}


def dev_scores(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [max(line["dev"]["mean"].values()) for line in lines if "dev" in line]


def make_trainer(config, data_folder):
    student = load_student(config, torch.device("cpu"))
    prepared = Path(config.data.prepared)
    data = load_or_prepare(config.data, student.tokenizer, data_folder, prepared, 1)
    return Trainer(config, student, data)


@pytest.mark.long
def test_training_teaches_words_that_no_text_shares(make_config, data_folder, tmp_path):
    config = make_config(optimiser=LEARNS, run={"dev_steps": 120, "save_steps": 120})
    folder = train(config, data_folder, device="cpu")
    before, after = dev_scores(tmp_path / "out")
    assert before < 0.4
    assert after > 0.75
    encoder = load_encoder(str(folder), device="cpu")
    query = encoder.encode_queries(["the book"]).to_scipy()
    documents = encoder.encode_documents(["ban ban of bel", "can can of cel"]).to_scipy()
    scores = (query @ documents.T).toarray()[0]
    assert scores[0] > scores[1] + 0.1


@pytest.mark.long
def test_distillation_from_the_dense_teacher_brings_the_student_close(make_config, data_folder):
    config = make_config(
        loss={"kl": 1.0, "contrastive": 0.0, "dense": 1.0, "bm25": 0.5, "judged": 0.0, "scale": 5},
        lexical={"weight": 0.2, "alone": 0.5},
        data={"invented_queries": 1},
        batch={"cluster": 4},
        optimiser={"steps": 60, "warmup_steps": 10},
    )
    trainer = make_trainer(config, data_folder)
    losses = [float(trainer.train_step()["kl"]) for trainer.step in range(60)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_resuming_continues_bit_for_bit(make_config, data_folder, tmp_path):
    mined = {"batch": {"negatives": 2}, "mining": {"every": 4, "dense": False, "margin": 2.0}}
    penalty = {"penalty": "df_flops", "target_terms": 8, "weight": 0.01, "dense_share": 0.2,
               "top_start": 20, "top_end": 8, "top_least": 4}  # fmt: skip
    averaging = {"averaging": 0.9}
    shared = {"sparsity": penalty, "optimiser": averaging} | mined
    straight = make_config(**shared, run={"out": str(tmp_path / "a"), "save_steps": 3})
    train(straight, data_folder, device="cpu")
    broken = make_config(**shared, run={"out": str(tmp_path / "b"), "save_steps": 3})
    first = make_trainer(broken, data_folder)
    stopped = type("Stopped", (Exception,), {})

    def until_five(step=first.train_step):
        if first.step == 5:
            raise stopped
        return step()

    first.train_step = until_five
    with pytest.raises(stopped):
        first.run()
    train(broken, data_folder, resume=True, device="cpu")
    for name in ("model.safetensors", "query_weights.safetensors"):
        one = (tmp_path / "a" / "model" / name).read_bytes()
        assert one == (tmp_path / "b" / "model" / name).read_bytes()


def test_a_portable_leg_goes_on_from_its_averaged_weights(make_config, data_folder):
    config = make_config(run={"portable": True})
    first = make_trainer(config, data_folder)
    first.run()
    second = make_trainer(config, data_folder)
    second.resume()
    assert second.step == second.optimiser.started_at == 8
    for name, one in second.optimiser.parameters.items():
        torch.testing.assert_close(
            one.detach(), first.optimiser.average[name], rtol=1e-3, atol=1e-3
        )


def test_a_share_of_the_first_weights_is_kept_in_what_is_saved(make_config, data_folder):
    config = make_config(optimiser={"averaging": 0.5, "start_share": 0.25})
    trainer = make_trainer(config, data_folder)
    first = {name: one.detach().clone() for name, one in trainer.optimiser.parameters.items()}
    trainer.run()
    trained = {name: one.detach().clone() for name, one in trainer.optimiser.parameters.items()}
    with trainer.optimiser.averaged():
        for name, one in trainer.optimiser.parameters.items():
            expected = 0.75 * trainer.optimiser.average[name] + 0.25 * first[name]
            torch.testing.assert_close(one.detach(), expected)
    for name, one in trainer.optimiser.parameters.items():
        assert torch.equal(one.detach(), trained[name])


@pytest.mark.parametrize("table", [True, False], ids=["query table", "neural queries"])
@pytest.mark.parametrize("saving", ["recompute", "checkpointing"])
def test_saving_memory_leaves_the_gradients_alone(make_config, data_folder, saving, table):
    gradients = []
    for saves in (False, True):
        config = make_config(
            model={"query_table": table}, batch={saving: saves}, optimiser={"clip": 1e9}
        )
        trainer = make_trainer(config, data_folder)
        trainer.optimiser.update = lambda step: torch.tensor(0.0)
        trainer.train_step()
        gradients.append({name: one.grad for name, one in trainer.optimiser.parameters.items()})
    for name, one in gradients[0].items():
        if one is not None:
            torch.testing.assert_close(gradients[1][name], one, rtol=1e-4, atol=1e-6)


def test_penalties_see_the_whole_batch_however_it_is_cut(make_config, data_folder):
    sparsity = {"query_weight": 0.1, "pair_weight": 0.1, "anti_zero": 1.0, "warmup_share": 0.0}
    seen = []
    for chunk in (5, 24):
        config = make_config(
            model={"query_table": False}, sparsity=sparsity, batch={"chunk": chunk}
        )
        seen.append(make_trainer(config, data_folder).train_step())
    assert {"penalty", "query_penalty", "pair_penalty", "anti_zero"} < set(seen[0])
    for name, part in seen[0].items():
        torch.testing.assert_close(seen[1][name], part, rtol=1e-4, atol=1e-6)
    weights = (1e-4, 0.1, 0.1, 1.0)  # with 1.0 for the losses, the total is the weighted sum
    names = ("penalty", "query_penalty", "pair_penalty", "anti_zero")
    total = seen[0]["contrastive"] + sum(
        w * seen[0][n] for w, n in zip(weights, names, strict=True)
    )
    torch.testing.assert_close(seen[0]["loss"], total)


def test_a_base_that_gives_no_finite_loss_stops_at_the_first_step(make_config, data_folder):
    trainer = make_trainer(make_config(), data_folder)
    with torch.no_grad():
        trainer.student.log_temperatures.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 0: .* choose another model\.base"):
        trainer.run()


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("save_steps", [2, 100])
def test_a_training_that_blows_up_can_go_on_at_a_lower_rate(
    make_config, data_folder, tmp_path, save_steps, portable
):
    run = {"log_steps": 100, "save_steps": save_steps, "portable": portable}
    wild = make_config(optimiser={"rate": 1e30, "head_rate": 1e30}, run=run)
    with pytest.raises(TrainingError, match=r"expected a finite loss .* with --resume"):
        train(wild, data_folder, device="cpu")
    for path in (tmp_path / "out" / "checkpoint").glob("*.safetensors"):
        assert all(np.isfinite(one).all() for one in load_file(str(path)).values())
    assert not (tmp_path / "out" / "model").exists()
    tame = make_config(run=run)
    lines = []
    folder = train(tame, data_folder, resume=True, device="cpu", report=lines.append)
    assert lines[0]["changed"] == {
        "optimiser.rate": [1e30, 3e-3],
        "optimiser.head_rate": [1e30, 3e-3],
    }
    assert load_encoder(str(folder), device="cpu").encode_queries(["the book"]).nnz == 2


SPOILED = {  # parameter, place, value, what is told
    "a term that no batch holds": (
        "documents.head.decoder.bias",
        -1,
        np.nan,
        "expected finite weights",
    ),
    "the loss": ("log_temperatures", ..., 1e3, "expected a finite loss"),
    "all documents": ("documents.head.decoder.bias", ..., 1e38, "found the same vector for all"),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_the_weights_that_would_be_exported_are_checked(
    make_config, data_folder, tmp_path, spoiled
):
    trainer = make_trainer(make_config(optimiser={"steps": 1}), data_folder)
    update = trainer.optimiser.update
    name, place, value, told = SPOILED[spoiled]

    def spoil(step):
        update(step)
        trainer.optimiser.average[name][place] = value

    trainer.optimiser.update = spoil
    with pytest.raises(TrainingError, match=f"step 1: .*{told}"):
        trainer.run()
    state = json.loads((tmp_path / "out" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 0


def test_weights_too_large_for_a_portable_checkpoint_are_refused(make_config, data_folder):
    trainer = make_trainer(make_config(run={"portable": True}), data_folder)
    with torch.no_grad():
        trainer.optimiser.average["documents.head.decoder.bias"][0] = (
            70_000  # float16 ends at 65,504
        )
    with pytest.raises(TrainingError, match=r"infinity in documents\.head\.decoder\.bias"):
        trainer.save()


def test_steps_after_the_last_full_line_of_the_log_are_checked_and_written(
    make_config, data_folder, tmp_path
):
    train(make_config(run={"log_steps": 5}), data_folder, device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [5, 8]


def test_a_training_whose_documents_become_one_stops_with_a_message(make_config, data_folder):
    config = make_config(run={"log_steps": 1})
    trainer = make_trainer(config, data_folder)
    with torch.no_grad():
        trainer.student.documents.head.decoder.weight.zero_()
    with pytest.raises(TrainingError, match="found the same vector for all"):
        trainer.run()


def test_boards_show_what_the_log_holds(make_config, data_folder, monkeypatch):
    shown = []
    run = SimpleNamespace(log=lambda numbers, step: shown.append((step, numbers)))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **about: run))
    make_trainer(make_config(run={"wandb": "p"}), data_folder).run()
    assert [step for step, _ in shown] == [0, 4, 8]
    assert {"loss", "terms", "query_terms", "penalty", "strength"} <= set(shown[1][1])


def test_tensorboard_files_stand_beside_the_log(make_config, data_folder, tmp_path):
    pytest.importorskip("tensorboard")
    make_trainer(make_config(run={"tensorboard": True}), data_folder).run()
    (events,) = (tmp_path / "out").glob("events.out.tfevents*")
    assert b"query_terms" in events.read_bytes()


def test_a_board_that_is_not_installed_is_named(make_config, data_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"expected wandb for run\.wandb"):
        make_trainer(make_config(run={"wandb": "p"}), data_folder)


def test_queries_may_have_a_model_of_their_own(make_config, data_folder, base):
    config = make_config(model={"query_table": False})
    model = replace(config.model, query=EncoderConfig(str(base), False, head=HeadKind.LINEAR))
    config = replace(config, model=model)
    folder = train(config, data_folder, device="cpu")
    encoder = load_encoder(str(folder), device="cpu")
    (terms, _), (expanded, _) = (
        encode(["the book"]).row(0) for encode in (encoder.encode_queries, encoder.encode_documents)
    )
    assert {encoder.vocabulary.name(term) for term in terms} <= {"the", "book"}
    assert len(expanded) > 2
    trainer = make_trainer(config, data_folder)
    moved = [name for name, one in trainer.optimiser.parameters.items() if "query_model" in name]
    assert any("head.layers" in name for name in moved)


def test_a_table_may_stay_as_it_starts(make_config, data_folder):
    config = make_config(model={"table_learned": False, "table_power": 0.0})
    folder = train(config, data_folder, device="cpu")
    (row,) = load_encoder(str(folder), device="cpu").encode_queries(["the book"]).to_dicts()
    assert list(row.values()) == [1.0, 1.0]


def test_a_leg_takes_over_the_query_weights_of_the_one_before(make_config, data_folder, tmp_path):
    first = train(make_config(), data_folder, device="cpu")
    onward = {"base": str(first), "table_from_base": True, "table_learned": False}
    second = make_config(model=onward, run={"out": str(tmp_path / "second")})
    folder = train(second, data_folder, device="cpu")
    before, after = (load_file(str(one / "query_weights.safetensors")) for one in (first, folder))
    np.testing.assert_allclose(after["weight"], before["weight"], rtol=1e-5)


def test_a_base_without_a_table_has_no_query_weights_to_take_over(make_config, data_folder):
    config = make_config(model={"table_from_base": True})
    with pytest.raises(InputError, match="whose queries are looked up"):
        make_trainer(config, data_folder)


def test_a_training_whose_documents_vanish_stops_with_a_message(make_config, data_folder):
    config = make_config(run={"log_steps": 1})
    trainer = make_trainer(config, data_folder)
    with torch.no_grad():
        trainer.student.documents.head.decoder.bias.fill_(-1e4)
    with pytest.raises(TrainingError, match="expected documents with terms"):
        trainer.run()


def test_training_ends_early_when_it_gets_no_better(make_config, data_folder):
    frozen = {"steps": 50, "rate": 0.0, "head_rate": 0.0, "table_rate": 0.0, "weight_decay": 0.0}
    config = make_config(optimiser=frozen, run={"dev_steps": 2, "patience": 3})
    trainer = make_trainer(config, data_folder)
    trainer.run()
    assert trainer.step == 8  # the first validation sets the mark, three more do not beat it


def test_patience_looks_at_the_student_and_not_at_bm25(make_config, data_folder, monkeypatch):
    means = iter(
        [{"bm25": 0.9, "200/0": 0.1 + 0.01 * n} for n in range(4)]
        + [{"bm25": 0.9, "200/0": 0.0}] * 9
    )
    trainer = make_trainer(
        make_config(optimiser={"steps": 50}, run={"dev_steps": 1, "patience": 2}), data_folder
    )
    monkeypatch.setattr(trainer, "validate", lambda: {"mean": next(means)})
    trainer.run()
    assert trainer.step == 5  # the first mean is of the start; three rise, two do not


def test_bad_beginnings_are_refused(make_config, data_folder):
    with pytest.raises(InputError, match=r"batch\.passages = 500"):
        train(make_config(batch={"passages": 500}), data_folder, device="cpu")
    train(make_config(), data_folder, device="cpu")
    other = make_config(batch={"queries": 23})
    with pytest.raises(MismatchError, match="another's"):
        train(other, data_folder, resume=True, device="cpu")
    changed = make_config(data={"passage_tokens": 12})
    with pytest.raises(MismatchError, match="prepared with this configuration"):
        train(changed, data_folder, device="cpu")


def test_prepared_data_of_another_tokenizer_or_file_are_refused(make_config, data_folder, tmp_path):
    root = shutil.copytree(data_folder, tmp_path / "data")
    config = make_config()
    train(config, root, device="cpu")
    other = tiny.write_bert(tmp_path / "other")
    with pytest.raises(MismatchError, match="for this base's tokenizer"):
        train(make_config(model={"base": str(other)}), root, device="cpu")
    train(make_config(), root, device="cpu")
    path = root / "topics" / "corpus.jsonl"
    path.write_text(path.read_text().replace("ban", "can"))
    with pytest.raises(MismatchError, match="of these files"):
        train(make_config(), root, device="cpu")


@pytest.mark.parametrize("portable", [False, True], ids=["exact", "portable"])
def test_the_weights_that_validate_best_are_written(make_config, data_folder, tmp_path, portable):
    run = {"dev_steps": 2, "save_steps": 4, "portable": portable}
    config = make_config(run=run, optimiser={"steps": 7})
    trainer = make_trainer(config, data_folder)
    seen, means = {}, {0: 0.1, 2: 0.4, 4: 0.9, 6: 0.3, 7: 0.2}
    table = trainer.validate()

    def validate():
        bias = trainer.optimiser.average["documents.head.decoder.bias"]
        seen[trainer.step] = bias.clone().numpy()
        return {"mean": dict.fromkeys(table["mean"], means[trainer.step])}

    trainer.validate = validate
    trainer.run()
    assert list(seen) == [0, 2, 4, 6, 7]
    assert np.abs(seen[4] - seen[7]).max() > 1.2e-3  # twice what half precision rounds
    again = make_trainer(config, data_folder)
    again.resume()
    for one, atol in ((trainer, 0), (again, 6e-4 if portable else 0)):
        written = load_file(str(one.export() / "model.safetensors"))
        np.testing.assert_allclose(written["cls.predictions.bias"], seen[4], rtol=0, atol=atol)
