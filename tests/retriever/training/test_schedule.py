import pytest

from tamis.retriever.training.config import OptimiserConfig, SparsityConfig
from tamis.retriever.training.schedule import rate_factor, terms_kept

OPTIMISER = OptimiserConfig(steps=100, warmup_steps=10)


def test_the_rate_warms_up_then_falls_along_a_cosine():
    assert rate_factor(0, OPTIMISER) == pytest.approx(0.1, rel=0.01)
    assert rate_factor(50, OPTIMISER) == pytest.approx(0.505)
    assert rate_factor(100, OPTIMISER) == pytest.approx(0.01)


def test_a_fresh_optimiser_is_warmed_up_again():
    assert rate_factor(50, OPTIMISER, started_at=50) == pytest.approx(0.0505)


def test_documents_are_dense_at_first_then_keep_fewer_and_fewer_terms():
    config = SparsityConfig(
        dense_share=0.2, top_start=400, top_end=200, top_least=200, falling_until=0.6
    )
    assert terms_kept(19, 100, config, seed=1) is None
    drawn = [terms_kept(step, 100, config, seed=1) for step in range(20, 100)]
    limits = [400 - 200 * min(1.0, (step / 100 - 0.2) / 0.4) for step in range(20, 100)]
    assert all(200 <= one <= round(limit) for one, limit in zip(drawn, limits, strict=True))
    assert len(set(drawn[:40])) > 10  # each batch draws its own
    assert set(drawn[40:]) == {200}


def test_draws_follow_from_seed_and_step_alone():
    config = SparsityConfig(dense_share=0.0)
    assert terms_kept(7, 100, config, 1) == terms_kept(7, 100, config, 1)
