from __future__ import annotations

import pytest

from housevis import explain


@pytest.mark.parametrize("name", explain.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(explain, name) is not None
    assert name in dir(explain)


def test_every_name_loaded_on_use_is_public() -> None:
    assert set(explain._LOADED_ON_USE) <= set(explain.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        explain.nothing  # noqa: B018
