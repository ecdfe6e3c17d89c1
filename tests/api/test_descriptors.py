"""Open files are shared so that all fits, whatever the limit is."""

import pytest

from tamis.api.descriptors import OF_AN_AWAKE_INDEX, Descriptors
from tamis.index import InputError


@pytest.mark.parametrize("limit", [64, 65, 100, 128, 256, 512, 1024, 4096, 65_536, 1 << 20])
@pytest.mark.parametrize("used", [8, 20, 30])
def test_all_shares_fit_together_with_what_is_at_work(limit, used):
    found = Descriptors.shared(limit, used, 1024)
    at_work = max(28, min(128, limit // 8))
    taken = found.connections + found.backlog + OF_AN_AWAKE_INDEX * found.awake
    assert used + at_work + taken <= limit or limit - used < 40
    assert min(found.connections, found.backlog, found.awake) >= 1


def test_a_usual_limit_leaves_room_for_many_clients():
    found = Descriptors.shared(1024, 20, 1024)
    assert found.connections > 250
    assert found.awake > 90
    assert Descriptors.shared(524_288, 20, 1024) == Descriptors(524_288, 1024, 2048, 128)
    assert Descriptors.shared(524_288, 20, 5000).connections == 5000


def test_too_low_a_limit_is_refused():
    with pytest.raises(InputError, match="at least 64 open files, found 63"):
        Descriptors.shared(63, 10, 10)
