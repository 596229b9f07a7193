"""Every server comes to the same order by itself."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from src.state.ownership.rendezvous import first, rank

names = st.text(min_size=1, max_size=12)
servers_of = st.lists(names, min_size=1, max_size=6, unique=True)


@given(names, servers_of)
def test_ranks_are_a_permutation(id: str, servers: list[str]) -> None:
    assert sorted(rank(id, one, servers) for one in servers) == list(range(len(servers)))


@given(names, servers_of)
def test_first_is_rank_nought_whatever_the_order_of_the_list(id: str, servers: list[str]) -> None:
    found = first(id, sorted(servers))
    assert found == first(id, sorted(servers, reverse=True))
    assert found is not None
    assert rank(id, found, servers) == 0


@given(names, servers_of)
def test_a_server_that_goes_changes_nothing_between_the_others(id: str, servers: list[str]) -> None:
    order = sorted(servers, key=lambda one: rank(id, one, servers))
    left = order[1:]
    assert sorted(left, key=lambda one: rank(id, one, left)) == left


def test_nobody_comes_first_where_nobody_is() -> None:
    assert first("c", ()) is None


def test_each_server_comes_first_for_about_its_share() -> None:
    servers = [f"srv-{n}" for n in range(4)]
    shares = Counter(first(f"c-{n}", servers) for n in range(4000))
    assert all(800 < shares[one] < 1200 for one in servers)
