"""The protocol's vocabulary is the SDK's: the constants of `gateway/protocol.py`, which spares its import, agree."""

from typing import get_args

import mcp_types as types
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import jsonrpc, version
from mcp_types.methods import CLIENT_REQUESTS, SERVER_NOTIFICATIONS

from gateway import protocol
from gateway.frontend.replies import status_of


def test_revisions() -> None:
    assert protocol.HANDSHAKE_VERSIONS == version.HANDSHAKE_PROTOCOL_VERSIONS
    assert protocol.MODERN_VERSIONS == version.MODERN_PROTOCOL_VERSIONS
    assert protocol.DEFAULT_VERSION == types.DEFAULT_NEGOTIATED_VERSION


def test_eras() -> None:
    for one in version.KNOWN_PROTOCOL_VERSIONS:
        modern = one in version.MODERN_PROTOCOL_VERSIONS
        assert protocol.Era.of(one) is (protocol.Era.MODERN if modern else protocol.Era.HANDSHAKE)


def test_envelope_keys() -> None:
    assert protocol.META_VERSION == types.PROTOCOL_VERSION_META_KEY
    assert protocol.META_CLIENT_INFO == types.CLIENT_INFO_META_KEY
    assert protocol.META_CLIENT_CAPABILITIES == types.CLIENT_CAPABILITIES_META_KEY
    assert protocol.META_LOG_LEVEL == types.LOG_LEVEL_META_KEY
    assert protocol.META_SERVER_INFO == types.SERVER_INFO_META_KEY
    assert protocol.META_SUBSCRIPTION_ID == SUBSCRIPTION_ID_META_KEY


def test_error_codes() -> None:
    assert protocol.PARSE_ERROR == jsonrpc.PARSE_ERROR
    assert protocol.INVALID_REQUEST == jsonrpc.INVALID_REQUEST
    assert protocol.METHOD_NOT_FOUND == jsonrpc.METHOD_NOT_FOUND
    assert protocol.INVALID_PARAMS == jsonrpc.INVALID_PARAMS
    assert protocol.INTERNAL_ERROR == jsonrpc.INTERNAL_ERROR
    assert protocol.HEADER_MISMATCH == jsonrpc.HEADER_MISMATCH
    assert protocol.UNSUPPORTED_VERSION == jsonrpc.UNSUPPORTED_PROTOCOL_VERSION
    assert protocol.REQUEST_CANCELLED == REQUEST_CANCELLED


def test_http_statuses_of_error_codes() -> None:
    for code, status in ERROR_CODE_HTTP_STATUS.items():
        assert status_of(code, protocol.Era.MODERN) == status
        assert status_of(code, protocol.Era.HANDSHAKE) == 200, "the era answers errors like results"


def test_log_levels() -> None:
    assert get_args(types.LoggingLevel) == protocol.LOG_LEVELS


def test_methods() -> None:
    for revision in version.KNOWN_PROTOCOL_VERSIONS:
        listing = set(protocol.LIST_METHODS) - {"skills/list"}  # which is an extension's (SEP-2640)
        assert {method for method, of in CLIENT_REQUESTS if of == revision} >= listing
        heard = {method for method, of in SERVER_NOTIFICATIONS if of == revision}
        assert heard >= set(protocol.CHANGE_NOTIFICATIONS.values())
