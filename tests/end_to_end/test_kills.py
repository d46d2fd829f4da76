"""A run killed anywhere leaves nothing that the next run does not finish (three moments here; `make prove` takes ten)."""

from datetime import UTC, datetime

import pytest

from benchmarks.kills import AS_OF, prove
from cdp.simulate.write import simulate

pytestmark = pytest.mark.long


@pytest.mark.timeout(1800)
def test_kill_9_then_run_ends_like_a_run_left_alone(tmp_path):
    simulate(400, "9", tmp_path / "case", datetime(2026, 2, 1, tzinfo=UTC))
    result = prove(tmp_path / "case", 3, 1, AS_OF, tmp_path)
    assert result["kills"][-1]["last step done"] == result["before publish"], "the last kill is inside publish"
    assert [kill["differs"] for kill in result["kills"]] == [[], [], []]
