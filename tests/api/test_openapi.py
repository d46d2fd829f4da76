"""A small version of `benchmarks.fuzz`: every answer is one that the OpenAPI declares."""

import pytest

from benchmarks.fuzz import prove


@pytest.mark.long
def test_every_answer_is_one_that_is_declared(town):
    found = prove(town, cases=1, seconds=40, examples=3)
    assert not found["wrong"], found["said"][-8000:]
    assert found["cases"] > 500
