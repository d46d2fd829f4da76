"""What the tests of identity share."""

import pytest

from tests.conftest import opened
from tests.identity.lake import land, person_rows, run


@pytest.fixture(scope="module")
def case(new_workspace):
    with opened(new_workspace()) as found:
        land(found.lake, person_rows(600, 3))
        run(found)
        yield found
