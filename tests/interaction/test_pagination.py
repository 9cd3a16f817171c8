"""Lists in pages: the gateway's own, whatever pages its upstreams cut."""

from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire
from tests.interaction.conftest import PAGE_SIZE, RAWS


@requirement("lists:pages")
def test_pages_hold_every_item_once(wire: Wire) -> None:
    names: list[str] = []
    page = wire.ask("tools/list").result
    while "nextCursor" in page:
        assert len(page["tools"]) == PAGE_SIZE
        names += [tool["name"] for tool in page["tools"]]
        page = wire.ask("tools/list", {"cursor": page["nextCursor"]}).result
    assert 0 < len(page["tools"]) <= PAGE_SIZE
    names += [tool["name"] for tool in page["tools"]]
    assert names == sorted(set(names))
    assert {f"{name}__raw" for name in RAWS} <= set(names)


@requirement("lists:pages")
def test_a_list_that_fits_one_page_has_no_cursor(wire: Wire) -> None:
    result = wire.ask("resources/templates/list").result
    assert 0 < len(result["resourceTemplates"]) <= PAGE_SIZE
    assert "nextCursor" not in result


@requirement("lists:cursor")
def test_a_cursor_that_is_not_ours_is_refused(wire: Wire) -> None:
    for cursor in ("", "0", "nonsense", "MTphYmM=x", "x" * 10_000):
        error = wire.ask("tools/list", {"cursor": cursor}).error
        assert error["code"] == -32602, cursor
        assert "without" in error["message"], "what to do about it"


@requirement("lists:hints")
def test_lists_say_how_long_they_may_be_kept_in_the_era_that_asks(wire: Wire) -> None:
    for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        result = wire.ask(method).result
        assert ("ttlMs" in result, "cacheScope" in result) == (wire.modern, wire.modern)
        if wire.modern:
            assert isinstance(result["ttlMs"], int)
            assert result["ttlMs"] >= 0
            assert result["cacheScope"] in ("public", "private")
