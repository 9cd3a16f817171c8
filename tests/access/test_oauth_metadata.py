"""What a client is told: metadata documents at their places, and challenges that the SDK's own client understands."""

from typing import Any

import httpx2
import pytest
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
)
from mcp.shared.auth import ProtectedResourceMetadata
from mcp.shared.auth_utils import check_resource_allowed

from gateway.access.metadata import (
    WELL_KNOWN,
    challenge,
    login_challenge,
    metadata_url,
    protected_resource,
    resource_at,
    scope_challenge,
    token_challenge,
)
from tests.oauth.local_issuer import RESOURCE, settings_for

ISSUER = "https://issuer.example/tenant"
SETTINGS = settings_for(ISSUER)


def answer(header: str, status: int = 401) -> httpx2.Response:
    return httpx2.Response(status, headers={"www-authenticate": header})


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://a.example/mcp", f"https://a.example{WELL_KNOWN}/mcp"),
        ("https://a.example/mcp/", f"https://a.example{WELL_KNOWN}/mcp"),
        ("https://a.example:8443/x/mcp/github", f"https://a.example:8443{WELL_KNOWN}/x/mcp/github"),
        ("https://a.example", f"https://a.example{WELL_KNOWN}"),
        ("http://[::1]:8080/mcp", f"http://[::1]:8080{WELL_KNOWN}/mcp"),
    ],
)
def test_where_the_metadata_stands(resource: str, url: str) -> None:
    assert metadata_url(resource) == url
    assert url in build_protected_resource_metadata_discovery_urls(None, resource.rstrip("/")), "where the SDK looks"


@pytest.mark.parametrize(
    ("suffix", "resource"),
    [
        ("", RESOURCE),
        ("/", RESOURCE),
        ("/mcp", RESOURCE),
        ("/mcp/", RESOURCE),
        ("/mcp/github", f"{RESOURCE}/github"),
        ("/mcp/no-such-upstream", f"{RESOURCE}/no-such-upstream"),
    ],
)
def test_the_document(suffix: str, resource: str) -> None:
    document = protected_resource(SETTINGS, suffix)
    assert document == {
        "resource": resource,
        "resource_name": "mcp-gateway",
        "authorization_servers": [ISSUER],
        "scopes_supported": ["read", "write"],
        "bearer_methods_supported": ["header"],
    }
    assert ProtectedResourceMetadata.model_validate(document)


@pytest.mark.parametrize(
    "suffix",
    ["/sse", "/mcpx", "/mc", "/mcp/a/b", "/mcp//a", "/mcp/a\n", '/mcp/a"b', "/mcp/<x>", "/mcp/" + "a" * 129, "mcp"],
)
def test_where_no_document_is(suffix: str) -> None:
    assert protected_resource(SETTINGS, suffix) is None


def test_a_resource_behind_a_prefix() -> None:
    settings = settings_for(ISSUER, resource="https://a.example/tools/mcp")
    assert (protected_resource(settings, "/tools/mcp/github") or {})["resource"] == "https://a.example/tools/mcp/github"
    assert protected_resource(settings, "/mcp") is None


@pytest.mark.parametrize("origin", ["https://a.example", "https://a.example/"])
def test_a_resource_that_is_the_whole_host(origin: str) -> None:
    settings = settings_for(ISSUER, resource=origin)
    found = {suffix: protected_resource(settings, suffix) for suffix in ("", "/mcp", "/mcp/github", "/github")}
    assert {suffix: document and document["resource"] for suffix, document in found.items()} == {
        "": "https://a.example",
        "/mcp": "https://a.example/mcp",
        "/mcp/github": "https://a.example/mcp/github",
        "/github": None,
    }


@pytest.mark.parametrize("resource", [RESOURCE, f"{RESOURCE}/", "https://gateway.example", "https://a.example/x/mcp"])
@pytest.mark.parametrize("view", [None, "github", "my.server-1_x", "not plain", "a/b", "ä", "", "a" * 129])
def test_what_a_challenge_leads_to_is_within_what_was_asked(resource: str, view: str | None) -> None:
    settings = settings_for(ISSUER, resource=resource)
    suffix = metadata_url(resource_at(settings, view)).partition(WELL_KNOWN)[2]
    named = (protected_resource(settings, suffix) or {})["resource"]
    assert named == resource_at(settings, view)
    assert check_resource_allowed(f"{settings.endpoint}/{view}" if view else settings.endpoint, named)


def test_who_has_no_token_is_told_where_to_get_one() -> None:
    header = login_challenge(SETTINGS)
    assert header == f'Bearer scope="read write", resource_metadata="{metadata_url(RESOURCE)}"'
    assert extract_resource_metadata_from_www_auth(answer(header)) == metadata_url(RESOURCE)
    assert extract_scope_from_www_auth(answer(header)) == "read write"


def test_whose_token_is_bad_is_told_so() -> None:
    header = token_challenge(SETTINGS, "The token has expired.")
    assert extract_field_from_www_auth(answer(header), "error") == "invalid_token"
    assert extract_field_from_www_auth(answer(header), "error_description") == "The token has expired."
    assert extract_resource_metadata_from_www_auth(answer(header)) == metadata_url(RESOURCE)


@pytest.mark.parametrize(
    ("names", "needed", "scope"),
    [
        ({}, {"write"}, "write"),
        ({}, {"admin", "write", "read"}, "admin read write"),
        ({"scope_names": {"mcp:call": frozenset({"write"})}}, {"write"}, "mcp:call"),
    ],
)
def test_whose_token_lacks_scopes_is_told_all_of_them(names: dict[str, Any], needed: set[str], scope: str) -> None:
    header = scope_challenge(settings_for(ISSUER, **names), needed)
    assert extract_field_from_www_auth(answer(header, 403), "error") == "insufficient_scope"
    assert extract_scope_from_www_auth(answer(header, 403)) == scope
    assert extract_resource_metadata_from_www_auth(answer(header, 403)) == metadata_url(RESOURCE)


def test_scopes_that_are_held_can_be_asked_for_again() -> None:
    header = answer(scope_challenge(SETTINGS, {"write"}, {"read"}), 403)
    assert extract_scope_from_www_auth(header) == "read write"
    assert extract_field_from_www_auth(header, "error_description") == "This request needs the scope write"


@pytest.mark.parametrize(("view", "resource"), [(None, RESOURCE), ("github", f"{RESOURCE}/github")])
def test_a_challenge_leads_to_the_view_that_was_asked(view: str | None, resource: str) -> None:
    for header in (
        login_challenge(SETTINGS, view),
        token_challenge(SETTINGS, "Expired.", view),
        scope_challenge(SETTINGS, {"write"}, view=view),
    ):
        assert extract_resource_metadata_from_www_auth(answer(header)) == metadata_url(resource)


def test_nothing_in_a_challenge_can_break_out_of_it() -> None:
    header = challenge("https://a.example/", ['a"b'], "invalid_token", 'x", scope="admin\r\nSet-Cookie: a=b\\')
    assert header.isprintable()
    assert "\\" not in header
    assert header.count('"') == 8
    assert challenge("https://a.example/") == 'Bearer resource_metadata="https://a.example/"'
