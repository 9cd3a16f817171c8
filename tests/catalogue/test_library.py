"""The catalogue of each view, as each principal sees it, and who is told of which change."""

import pytest
from structlog.testing import capture_logs

from gateway.access.policy import Grant, Policy, Rule
from gateway.catalogue.library import CatalogueViews
from gateway.config.models import ServerConfig
from gateway.request import Principal
from gateway.upstream.listing import Listing

from .listings import prompt, published, resource, template, tool

EVERYTHING = Grant()
SERVER = ServerConfig(command="x")


def listing(*tools: str) -> Listing:
    return Listing(
        tools=tuple(map(tool, tools)),
        resources=(resource("file:///shared"), resource(f"file:///{tools[0]}")),
        templates=(template("file:///{name}"),),
        prompts=(prompt("ask"),),
        instructions=f"Use {tools[0]}.",
        capabilities={"tools": {}, "resources": {}, "prompts": {}},
    )


@pytest.fixture
def library() -> CatalogueViews:
    library = CatalogueViews({"git": SERVER, "time": SERVER}, "upstream")
    library.update([("git", listing("log", "log_delete")), ("time", listing("now"))])
    return library


def sight(*rules: Rule, upstreams: set[str] | None = None) -> Grant:
    principal = Principal("key:1", owner="alice", upstreams=None if upstreams is None else frozenset(upstreams))
    return Policy(rules).grant(principal)


def test_everybody_unrestricted_shares_one_catalogue(library: CatalogueViews) -> None:
    assert library.view(None, EVERYTHING) is library.view(None, sight())
    assert published(library.view(None, EVERYTHING), "tools") == ["git__log", "git__log_delete", "time__now"]
    assert published(library.view("git", EVERYTHING), "tools") == ["log", "log_delete"]


def test_what_is_hidden_is_not_there(library: CatalogueViews) -> None:
    hidden = sight(Rule(("alice",), deny=("*_delete", "git__ask", "file:///log")))
    for view, names in ((None, ["git__log", "time__now"]), ("git", ["log"])):
        seen = library.view(view, hidden)
        assert published(seen, "tools") == names
        assert seen.tool("git__log_delete") is None
        assert seen.tool("log_delete") is None
        assert seen.resource("file:///log") is None
        assert seen.private
    assert library.view("git", hidden).prompt("ask") is None
    assert library.view(None, hidden).prompt("git__ask") is None
    assert library.view(None, hidden).prompt("time__ask") is not None


def test_an_upstream_that_is_not_included_might_as_well_not_exist(library: CatalogueViews) -> None:
    git_only = sight(upstreams={"git"})
    assert not library.has("time", git_only)
    assert library.has("git", git_only)
    assert library.has(None, git_only)
    seen = library.view(None, git_only)
    assert published(seen, "tools") == ["git__log", "git__log_delete"]
    assert "now" not in (seen.instructions or "")
    assert published(seen, "resources") == ["file:///log", "file:///shared"]
    owner = seen.resource("file:///shared")
    assert owner is not None
    assert owner.upstream == "git"


def test_equal_sights_share_catalogues(library: CatalogueViews) -> None:
    assert library.view(None, sight(upstreams={"git"})) is library.view(None, sight(upstreams={"git"}))


def test_a_change_is_one_only_for_those_who_can_see_it(library: CatalogueViews) -> None:
    hidden = sight(Rule(("alice",), deny=("*_delete",)))
    git_only = sight(upstreams={"git"})
    for view in (None, "git"):
        library.view(view, hidden)
        library.view(view, git_only)

    affected = library.update([("git", listing("log"))])
    assert affected == {None, "git"}
    assert library.changes(None, EVERYTHING) == {"tools"}
    assert library.changes("git", git_only) == {"tools"}
    assert library.changes(None, hidden) == set()

    library.update([("time", listing("now", "then"))])
    assert library.changes(None, hidden) == {"tools"}
    assert library.changes(None, git_only) == set()
    assert library.changes("git", EVERYTHING) == set()


def test_an_upstream_that_is_gone_takes_its_items_along(library: CatalogueViews) -> None:
    library.update([("git", None)])
    assert published(library.view(None, EVERYTHING), "tools") == ["time__now"]
    assert published(library.view("git", EVERYTHING), "tools") == []
    assert library.changes(None, EVERYTHING) == {"tools", "resources", "prompts"}


def test_nothing_changed_is_nothing_affected(library: CatalogueViews) -> None:
    assert library.update([("git", listing("log", "log_delete"))]) == set()


# --- Another configuration --------------------------------------------------------------------------------------------


def configure(library: CatalogueViews, **servers: tuple[ServerConfig, Listing | None]) -> None:
    configs = {name: config for name, (config, _) in servers.items()}
    library.configure(configs, "upstream", [(name, listing) for name, (_, listing) in servers.items()])


def test_other_rules_show_other_items_of_the_same_listing(library: CatalogueViews) -> None:
    now = listing("log", "log_delete")
    rules = ServerConfig.model_validate({"command": "x", "tools": {"deny": ["*_delete"], "rename": {"log": "history"}}})
    configure(library, git=(rules, now), time=(SERVER, listing("now")))
    assert published(library.view(None, EVERYTHING), "tools") == ["git__history", "time__now"]
    assert published(library.view("git", EVERYTHING), "tools") == ["history"]


def test_one_more_and_one_less(library: CatalogueViews) -> None:
    configure(library, time=(SERVER, listing("now")), new=(SERVER, None))
    assert published(library.view(None, EVERYTHING), "tools") == ["time__now"]
    assert not library.has("git", EVERYTHING)
    assert published(library.view("git", EVERYTHING), "tools") == []
    assert published(library.view("git", sight(upstreams={"git"})), "tools") == []
    assert library.has("new", EVERYTHING)
    library.update([("new", listing("fresh"))])
    assert published(library.view(None, EVERYTHING), "tools") == ["new__fresh", "time__now"]


def test_another_prefix(library: CatalogueViews) -> None:
    library.configure({"git": SERVER}, "none", [("git", listing("log"))])
    assert published(library.view(None, EVERYTHING), "tools") == ["log"]


def test_restricted_catalogues_follow(library: CatalogueViews) -> None:
    git_only = sight(upstreams={"git"})
    assert published(library.view(None, git_only), "tools") == ["git__log", "git__log_delete"]
    configure(library, git=(SERVER, listing("blame")), time=(SERVER, listing("now")))
    assert published(library.view(None, git_only), "tools") == ["git__blame"]


def test_a_rule_that_denies_a_uri_denies_it_where_it_is_shadowed_too(library: CatalogueViews) -> None:
    hidden = sight(Rule(("alice",), deny=("file:///shared",)))
    assert published(library.view(None, hidden), "resources") == ["file:///log", "time+file:///now"]
    assert published(library.view("time", hidden), "resources") == ["file:///now"]
    configure(library, time=(SERVER, listing("now")))
    assert published(library.view(None, hidden), "resources") == ["file:///now"]


def test_a_rule_that_allows_a_uri_allows_the_owners(library: CatalogueViews) -> None:
    some = sight(Rule(("alice",), allow=("file:///shared",)))
    assert published(library.view(None, some), "resources") == ["file:///shared"]
    assert published(library.view("time", some), "resources") == []
    configure(library, time=(SERVER, listing("now")))  # now it is the owner
    assert published(library.view("time", some), "resources") == ["file:///shared"]


def test_routes_are_the_same_for_who_does_not_see_the_owner(library: CatalogueViews) -> None:
    time_only = sight(upstreams={"time"})
    seen = library.view(None, time_only)
    assert published(seen, "resources") == ["time+file:///now", "time+file:///shared"]
    assert seen.resource("file:///shared") is None
    assert seen.unlisted("file:///other") is None
    other = seen.unlisted("time+file:///other")
    assert other is not None
    assert (other.upstream, other.original) == ("time", "file:///other")


def test_an_upstream_that_is_away_keeps_its_uris(library: CatalogueViews) -> None:
    library.update([("git", None)])
    assert published(library.view(None, EVERYTHING), "resources") == ["time+file:///now", "time+file:///shared"]


def test_the_order_of_the_configuration_decides_and_not_who_is_there_first() -> None:
    library = CatalogueViews({"git": SERVER, "time": SERVER}, "upstream")
    library.update([("time", listing("now"))])
    library.update([("git", listing("log"))])
    owner = library.view(None, EVERYTHING).resource("file:///shared")
    assert owner is not None
    assert owner.upstream == "git"
    configure(library, time=(SERVER, listing("now")), git=(SERVER, listing("log")))
    owner = library.view(None, EVERYTHING).resource("file:///shared")
    assert owner is not None
    assert owner.upstream == "time"


def test_the_log_says_who_shadows_whom_and_who_took_what_over(library: CatalogueViews) -> None:
    with capture_logs() as said:
        configure(library, time=(SERVER, listing("now")), git=(SERVER, listing("log")))
    [taken] = [entry for entry in said if entry["event"] == "URIs taken over"]
    assert (taken["upstream"], taken["by"], taken["count"]) == ("git", "time", 3)
    assert taken["uris"] == ["file:///log", "file:///shared", "file:///{name}"]
    with capture_logs() as said:
        library.update([("time", listing("now", "then"))])
    assert not [entry for entry in said if entry["event"].startswith("URIs")]
    with capture_logs() as said:
        configure(library, a=(SERVER, listing("a")), b=(SERVER, listing("b")))
    assert {(entry["upstream"], entry["by"]) for entry in said if entry["event"] == "URIs shadowed"} == {("b", "a")}
