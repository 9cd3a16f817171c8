"""Tools are found by what they are for: measured on real catalogues, and on wishes that nobody has tuned for."""

import pytest

from tests.search.collection import index_of, recall, tools, wishes


@pytest.mark.parametrize(("file", "five", "ten"), [("tuning.tsv", 0.92, 0.97), ("held_out.tsv", 0.9, 0.96)])
def test_what_is_wished_for_is_among_the_first(file: str, five: float, ten: float) -> None:
    index, some = index_of(tools()), wishes(file)
    assert len(some) >= 100
    assert recall(index, some, 5) >= five
    assert recall(index, some, 10) >= ten


def test_the_collection_is_what_it_should_be() -> None:
    servers = {name.partition("/")[0] for name in tools()}
    assert len(servers) >= 12
    assert len(tools()) >= 300
    for file in ("tuning.tsv", "held_out.tsv"):
        assert all(wish.tools <= tools().keys() for wish in wishes(file))
    assert {wish.words for wish in wishes("tuning.tsv")}.isdisjoint(wish.words for wish in wishes("held_out.tsv"))


def test_others_change_nothing() -> None:
    """What somebody finds depends on what they see: the same tools, in an index of others besides, may rank otherwise,
    which would tell that there are others. So an index is made of what somebody sees, in whatever order it comes."""
    mine = {name: tool for name, tool in tools().items() if name.startswith(("github/", "slack/"))}
    backwards = dict(reversed(mine.items()))
    for wish in wishes("held_out.tsv")[:20]:
        assert index_of(mine).search(wish.words, 10) == index_of(backwards).search(wish.words, 10)
