"""Multiple choice in several orders: what is liked is found, and a liking for a letter or a place is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from asked import at_place, choosing

from custodes.audit.choice import BARE, BRACKETED, ChoiceItem, ask_choices
from custodes.errors import InputError


def item(K: int) -> ChoiceItem:
    return ChoiceItem("Which?", tuple(f"option {k}" for k in range(K)), "q")


@pytest.mark.parametrize("K", [2, 3, 4, 5, 8])
def test_at_most_four_orders_and_every_option_stands_at_several_places(K: int) -> None:
    orders = item(K).orders()
    assert len(orders) == min(K, 4)
    assert all(sorted(order) == list(range(K)) for order in orders)
    for k in range(K):
        assert len({order.index(k) for order in orders}) == len(orders)


@pytest.mark.parametrize("letters", [BRACKETED, BARE])
def test_what_a_model_takes_is_found_in_any_order(letters: tuple[str, ...]) -> None:
    likes = {"option 0": 1.0, "option 1": 2.0, "option 2": 5.0}
    told = ask_choices(choosing(lambda _, text: likes[text]), [item(3)], letters)
    np.testing.assert_allclose(told.options[0], [1 / 8, 2 / 8, 5 / 8])
    np.testing.assert_allclose(told.mass, 0.9)
    np.testing.assert_allclose(told.first, 1 / 3)


@pytest.mark.parametrize("K", [2, 3, 4])
def test_a_liking_for_a_place_favours_no_option(K: int) -> None:
    shares = np.array([0.5, 0.2, 0.1, 0.05])
    told = ask_choices(at_place(shares.tolist()), [item(K), item(K)])
    for own in told.options:
        np.testing.assert_allclose(own, 1 / K)
    np.testing.assert_allclose(told.first, 0.5 / shares[:K].sum())
    np.testing.assert_allclose(told.mass, shares[:K].sum())


def test_an_item_needs_two_options() -> None:
    with pytest.raises(InputError, match="has 1 options; give 2 to 10"):
        item(1)
