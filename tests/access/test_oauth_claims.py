"""What verified claims make of a principal, and which settings there can be. Pure tables."""

from typing import Any

import pytest

from gateway.access.claims import MAX_NAME, MAX_VALUES, normalised, principal
from gateway.access.oauth_settings import ClaimGrant
from gateway.errors import Unauthenticated
from gateway.request import Principal
from tests.oauth.local_issuer import RESOURCE, claims_of, settings_for

ISSUER = "https://issuer.example"


def made_of(settings: dict[str, Any] | None = None, **claims: Any) -> Principal:
    return principal(claims_of(ISSUER, **claims), settings_for(ISSUER, **settings or {}))


# --- Who --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["alice", "auth0|5f7c", "alice@example.com", "a" * 128, "user:1/2=3+4~5-6.7"])
def test_a_readable_subject_stands_in_the_id(subject: str) -> None:
    assert made_of(sub=subject).id == f"oauth:{ISSUER}|{subject}"


@pytest.mark.parametrize("subject", ["a b", "a\nb", "\x1b[2J", "ä", "a" * 129, "#" + "0" * 32, "\ud800", "*"])
def test_another_subject_is_hashed(subject: str) -> None:
    made, again = made_of(sub=subject), made_of(sub=subject)
    assert made.id == again.id
    assert made.id.startswith(f"oauth:{ISSUER}|#")
    assert made.id.isprintable()
    assert subject not in made.id
    assert made.id != made_of(sub=subject + "a").id


@pytest.mark.parametrize(
    ("claim", "claims", "owner"),
    [
        ("sub", {}, "alice"),
        ("email", {"email": "a@example.com"}, "a@example.com"),
        ("email", {"email": "a@example.com", "email_verified": True}, "a@example.com"),
        ("email", {"email": "a@example.com", "email_verified": False}, "alice"),
        ("email", {"email": "a@example.com", "email_verified": "false"}, "alice"),
        ("email", {}, "alice"),
        ("email", {"email": ["a@example.com", "b@example.com"]}, "a@example.com"),
        ("email", {"email": "a\n@example.com"}, "alice"),
        ("email", {"email": ""}, "alice"),
        ("email", {"email": 5}, "alice"),
        ("email", {"email": "x" * (MAX_NAME + 1)}, "alice"),
        ("person.name", {"person": {"name": "Alice"}}, "Alice"),
        ("person.name", {"person": "Alice"}, "alice"),
        ("person.name", {"person": {"name": {"first": "Alice"}}}, "alice"),
        ("https://example.com/name", {"https://example.com/name": "Alice"}, "Alice"),
        ("name", {"sub": "with\nnewline"}, ""),
    ],
)
def test_the_owner(claim: str, claims: dict[str, Any], owner: str) -> None:
    assert made_of({"owner_claim": claim}, **claims).owner == owner


@pytest.mark.parametrize(
    ("claim", "claims", "groups"),
    [
        ("groups", {}, set[str]()),
        ("groups", {"groups": "staff"}, {"staff"}),
        ("groups", {"groups": ["staff", "ops"]}, {"staff", "ops"}),
        ("groups", {"groups": ["staff", 5, None, "", "a\tb", ["ops"]]}, {"staff"}),
        ("groups", {"groups": {"staff": True}}, set[str]()),
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}, {"staff"}),
        ("a.b", {"a.b": ["literal"], "a": {"b": ["nested"]}}, {"literal"}),
    ],
)
def test_the_groups(claim: str, claims: dict[str, Any], groups: set[str]) -> None:
    assert made_of({"groups_claim": claim}, **claims).groups == groups


def test_a_claim_with_endless_values_is_cut_off() -> None:
    made = made_of(groups=[f"group-{number}" for number in range(100_000)])
    assert len(made.groups) == MAX_VALUES
    assert made.groups_cut


@pytest.mark.parametrize(
    ("claim", "claims", "is_cut"),
    [
        ("groups", {}, False),
        ("groups", {"groups": "staff"}, False),
        ("groups", {"groups": []}, False),
        ("groups", {"groups": [f"group-{number}" for number in range(MAX_VALUES)]}, False),
        ("groups", {"groups": ["staff", 5]}, True),
        ("groups", {"groups": ["x" * (MAX_NAME + 1)]}, True),
        ("groups", {"groups": ["a\tb"]}, True),
        ("groups", {"groups": {"staff": True}}, True),
        ("groups", {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}}, True),
        ("groups", {"_claim_names": {"roles": "src1"}}, False),
        ("a.b", {"_claim_names": {"a": "src1"}}, True),
        ("groups", {"hasgroups": True}, True),
        ("groups", {"hasgroups": "true"}, True),
        ("groups", {"hasgroups": False}, False),
    ],
)
def test_a_token_that_does_not_name_all_groups(claim: str, claims: dict[str, Any], is_cut: bool) -> None:
    assert made_of({"groups_claim": claim}, **claims).groups_cut is is_cut


# --- What for ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "read"}, {"read"}),
        ({"scope": "read write admin"}, {"read", "write", "admin"}),
        ({"scope": ["read", "write"]}, {"read", "write"}),
        ({"scope": None, "scp": "write"}, {"write"}),
        ({"scope": None, "scp": ["write", "openid"]}, {"write"}),
        ({"scope": "read", "scp": ["write"]}, {"read", "write"}),
        ({"scope": "openid profile write"}, {"write"}),
        ({"scope": "openid"}, {"read"}),
        ({"scope": "write\tadmin"}, {"read"}),
        ({"scope": "write\nadmin"}, {"read"}),
        ({"scope": "write\u00a0admin write\u2003admin"}, {"read"}),
        ({"scope": "write  admin"}, {"write", "admin"}),
        ({"scope": None, "scp": ["write\tadmin"]}, {"read"}),
        ({"scope": None}, {"read"}),
        ({"scope": ""}, {"read"}),
        ({"scope": {"admin": True}}, {"read"}),
        ({"scope": "ADMIN readwrite admin,write"}, {"read"}),
    ],
)
def test_scopes(claims: dict[str, Any], scopes: set[str]) -> None:
    assert made_of(**claims).scopes == scopes


def test_what_a_token_without_scopes_may_is_a_setting() -> None:
    assert made_of({"default_scopes": frozenset[str]()}, scope=None).scopes == set()
    assert made_of({"default_scopes": frozenset({"write"})}, scope="openid").scopes == {"write"}


NAMES = {"mcp:use": frozenset({"read", "write"}), "mcp:all": frozenset({"read", "write", "admin"})}


def test_scopes_under_the_issuers_names() -> None:
    assert made_of({"scope_names": NAMES}, scope="mcp:use").scopes == {"read", "write"}
    assert made_of({"scope_names": NAMES}, scope="admin").scopes == {"read"}, "not a name of the issuer's"


@pytest.mark.parametrize(
    ("needed", "asked"),
    [({"read"}, ("mcp:use",)), ({"read", "write"}, ("mcp:use",)), ({"admin", "read"}, ("mcp:all", "mcp:use"))],
)
def test_scopes_are_asked_for_under_the_issuers_names(needed: set[str], asked: tuple[str, ...]) -> None:
    assert settings_for(ISSUER, scope_names=NAMES).issuer_scopes(needed) == asked


RULES = (
    ClaimGrant(claim="roles", value="ops-*", scopes=frozenset({"write", "admin"}), upstreams=frozenset({"*"})),
    ClaimGrant(claim="roles", value="dev", upstreams=frozenset({"github", "files"}), groups=frozenset({"developers"})),
    ClaimGrant(claim="contractor", upstreams=frozenset({"github"}), scopes=frozenset({"write"})),
)


@pytest.mark.parametrize(
    ("claims", "scopes", "upstreams", "groups"),
    [
        ({}, {"read"}, set[str](), set[str]()),
        ({"roles": "ops-1"}, {"write", "admin"}, None, set[str]()),
        ({"roles": ["dev", "ops-1"]}, {"write", "admin"}, None, {"developers"}),
        ({"roles": ["dev"]}, {"read"}, {"github", "files"}, {"developers"}),
        ({"roles": ["DEV", "xdev"]}, {"read"}, set[str](), set[str]()),
        ({"contractor": "yes"}, {"write"}, {"github"}, set[str]()),
        ({"contractor": "yes", "scope": "admin"}, {"write", "admin"}, {"github"}, set[str]()),
    ],
)
def test_claim_rules(claims: dict[str, Any], scopes: set[str], upstreams: set[str] | None, groups: set[str]) -> None:
    made = made_of({"claims": RULES}, **{"scope": None, **claims})
    assert (made.scopes, made.upstreams, made.groups) == (scopes, upstreams, groups)


def test_rules_without_upstreams_take_none_away() -> None:
    rules = (ClaimGrant(claim="roles", value="ops", scopes=frozenset({"admin"})),)
    assert made_of({"claims": rules}).upstreams is None


# --- For which resource -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "upstreams"),
    [
        (RESOURCE, None),
        (RESOURCE + "/", None),
        ("HTTPS://Gateway.EXAMPLE:443/mcp", None),
        (["https://other.example", RESOURCE], None),
        ("https://gateway.example/sse", None),
        ("api://gateway", None),
        (f"{RESOURCE}/github", {"github"}),
        ([f"{RESOURCE}/github", f"{RESOURCE}/files/"], {"github", "files"}),
        ([f"{RESOURCE}/github", RESOURCE], None),
    ],
)
def test_whom_a_token_is_for(audience: str | list[str], upstreams: set[str] | None) -> None:
    settings = {"audiences": ("https://gateway.example/sse/", "api://gateway")}
    assert made_of(settings, aud=audience).upstreams == upstreams


@pytest.mark.parametrize(
    ("audience", "upstreams"),
    [
        ("https://gateway.example", None),
        ("https://gateway.example/mcp", None),
        ("https://gateway.example/mcp/github", {"github"}),
    ],
)
def test_whom_a_token_is_for_if_the_resource_is_the_whole_host(audience: str, upstreams: set[str] | None) -> None:
    settings = {"resource": "https://gateway.example/"}
    assert made_of(settings, aud=audience).upstreams == upstreams
    with pytest.raises(Unauthenticated, match="aud"):
        made_of(settings, aud="https://gateway.example/github")


def test_an_audience_widens_no_grant() -> None:
    made = made_of({"claims": RULES}, roles="dev", aud=[f"{RESOURCE}/github", f"{RESOURCE}/secret"])
    assert made.upstreams == {"github"}


@pytest.mark.parametrize(
    "audience", ["API://gateway", "https://gateway.example/SSE", "https://gateway.example/", f"{RESOURCE}//a", None]
)
def test_whom_a_token_is_not_for(audience: str | None) -> None:
    settings = {"audiences": ("https://gateway.example/sse/", "api://gateway")}
    with pytest.raises(Unauthenticated, match="aud"):
        made_of(settings, aud=audience)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://A.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example:443/x/", "https://a.example/x"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("https://a.example/X?q=1", "https://a.example/X?q=1"),
        ("https://a.example/x#f", "https://a.example/x#f"),
        ("https://a.example\n/x", "https://a.example\n/x"),
        ("https://a.example:x/", "https://a.example:x/"),
        ("https://u@a.example/", "https://u@a.example/"),
        ("https://[a/", "https://[a/"),
        ("urn:x:Y", "urn:x:Y"),
        ("", ""),
    ],
)
def test_normalised(url: str, same: str) -> None:
    assert normalised(url) == same
    assert normalised(same) == same


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"issuer": "issuer.example"}, "issuer"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "ftp://issuer.example"}, "issuer"),
        ({"issuer": "https://u:p@issuer.example"}, "issuer"),
        ({"issuer": "https://issuer.example?x=1"}, "issuer"),
        ({"issuer": "https://issuer.example#x"}, "issuer"),
        ({"issuer": "https://issuer.example/\n"}, "issuer"),
        ({"issuer": "https://[issuer"}, "issuer"),
        ({"issuer": "https://issuer.example:port"}, "issuer"),
        ({"issuer": "https://issuer.example:99999"}, "issuer"),
        ({"issuer": "https://0177.0.0.1"}, "issuer"),
        ({"issuer": "http://issuer.example", "allow_private": False}, "issuer"),
        ({"jwks_uri": "http://issuer.example/jwks", "allow_private": False}, "jwks_uri"),
        ({"resource": "/mcp"}, "resource"),
        ({"resource": "https://gateway.example/mcp#x"}, "resource"),
        ({"algorithms": ()}, "algorithms"),
        ({"algorithms": ("RS256", "HS256")}, "algorithms"),
        ({"algorithms": ("none",)}, "algorithms"),
        ({"leeway": -1.0}, "leeway"),
        ({"leeway": 3600.0}, "leeway"),
        ({"scope_names": {"mcp": frozenset({"everything"})}}, "scope_names.mcp"),
        ({"default_scopes": frozenset({"everything"})}, "default_scopes"),
        ({"claims": (ClaimGrant(claim="x", scopes=frozenset({"everything"})),)}, "claims"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        settings_for(**{"issuer": ISSUER, **values})


def test_a_private_issuer_may_use_http_if_allowed() -> None:
    assert settings_for("http://127.0.0.1:9000", jwks_uri="http://127.0.0.1:9000/jwks")
