"""JSON in and out, and the four shapes of a JSON-RPC message. Bytes and dicts; types are for what is decoded by shape.

`orjson` is the fast path. It changes the text of some numbers and refuses half a surrogate pair, so documents that may
have such take another way (`exact`): what passes through a gateway must come out as it went in.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal, NoReturn, TypeGuard, cast

import msgspec
import orjson

from gateway import exact
from gateway.json_bounds import (
    MAX_DEPTH,
    MAX_VALUES,
    brackets_of,
    check_brackets,
    has_many_brackets,
    may_be_deep,
    may_have_many_values,
    needs_a_look,
)
from gateway.json_bounds import TooManyValues as TooManyValues  # what `loads` raises
from gateway.json_bounds import depth as depth
from gateway.protocol import META_SERVER_INFO

Message = dict[str, Any]
"""One decoded JSON-RPC message."""

RequestId = str | int | float
"""As JSON-RPC allows it; the gateway never sends `null`. Numbers that are equal are the same id: to peers whose numbers
are all doubles, 2 is `2.0`."""

BOM: Final = b"\xef\xbb\xbf"
"""A byte order mark, which Windows shells and some servers put before JSON. RFC 8259, 8.1: it may be ignored."""

_LARGE: Final = 64 * 1024
"""Bytes from which on it is worth a thought how long decoding takes."""


def loads(data: bytes, max_values: int = MAX_VALUES) -> Any:
    """Decode one JSON document.

    Args:
        max_values: for a file of ours, of which it does not matter how long it takes, `len(data)` is no bound.

    Raises:
        ValueError: not JSON, nested more than `MAX_DEPTH` deep, or not UTF-8.
        TooManyValues: it has more than `max_values`. Counted only where that could take long.
    """
    if data.startswith(BOM):
        data = data[len(BOM) :]
    if len(data) <= MAX_DEPTH:
        return _loads(data)  # it cannot be deep, nor have many values
    brackets = brackets_of(data)
    if len(data) <= _LARGE:
        value = _loads(data)
    else:
        check_brackets(data, brackets, max_values)
        with _without_collector():
            value = _loads(data)
    if brackets > MAX_DEPTH and may_be_deep(data) and _is_deep(value):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return value


def check_count(data: bytes, max_values: int = MAX_VALUES) -> None:
    """For who decodes a document in another way than `loads`, and does not know how large it is.

    Raises:
        TooManyValues: as `loads`.
    """
    check_brackets(data, brackets_of(data), max_values)


class _Answer(msgspec.Struct):
    """An answer, as far as it is looked into."""

    id: Any = None
    result: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _UsualResult(msgspec.Struct, forbid_unknown_fields=True):
    """The result of a tool, if it has none but the usual members."""

    content: msgspec.Raw
    structured: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="structuredContent")
    is_error: bool | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="isError")
    type: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="resultType")
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="_meta")


class _UsualAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """An answer to a `tools/call`, as nearly all are."""

    id: int | str
    result: _UsualResult
    jsonrpc: str = ""


_CALL: Final = b"tools/call"
_TOOLS_CALL: Final = "tools/call"
_LF: Final = 10
_CR: Final = 13
_BRACE: Final = 123
_QUOTE: Final = 34
"""Bytes are looked for as numbers, and texts with `find`: `b"x" in data` makes an exception, and drops it."""
_UNSET: Final = msgspec.UNSET
_answers: Final = msgspec.json.Decoder(_Answer)
_contents: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_usual_answers: Final = msgspec.json.Decoder(_UsualAnswer)

PASSED_ON: Final = frozenset({"content", "structuredContent", "contents", "messages", "arguments"})
"""Members of results, and of a call's parameters, that are passed on as the bytes they came as: `msgspec.Raw`, until
somebody opens them."""


def loads_answer(data: bytes) -> Any:
    """Decode one message, but of a result no more than the gateway has to know: see `PASSED_ON`.

    Only what can stand anywhere stays as it is: valid UTF-8 on one line. All else is decoded whole.

    Raises:
        ValueError, TooManyValues: as `loads`.
    """
    usual = usual_answer(data)
    return {"id": usual[0], "result": usual[1]} if usual is not None else unusual_answer(data)


def usual_answer(data: bytes) -> tuple[int | str, dict[str, Any]] | None:
    """The id and the result of an answer that is as those of tools nearly always are, with its content as the bytes it
    came as; None for any other message, which `unusual_answer` decodes."""
    data = data.strip()
    if not _is_one_line(data):
        return None
    try:
        answer = _usual_answers.decode(data)
        given = answer.result
        if len(data) > MAX_DEPTH and not _is_bounded(data, given):
            return None
        result: dict[str, Any] = {"content": given.content}
        if given.structured is not _UNSET:
            result["structuredContent"] = given.structured
        if given.is_error is not _UNSET:
            result["isError"] = given.is_error
        if given.type is not _UNSET:
            result["resultType"] = given.type
        if given.meta is not _UNSET:
            text = bytes(given.meta)
            known = _result_metas.get(text)
            result["_meta"] = _result_meta(text) if known is None else known.copy()
    except (ValueError, RecursionError):
        return None
    return answer.id, result


def unusual_answer(data: bytes) -> Any:
    """`loads_answer` without a look at whether it is a `usual_answer`, for who has had that."""
    data = data.strip()
    if _is_one_line(data) and not (len(data) > MAX_DEPTH and needs_a_look(data)):
        try:
            answer = _answers.decode(data)
            result = answer.result
            if isinstance(result, dict) and answer.error is _UNSET and answer.method is _UNSET:
                members = {name: raw if name in PASSED_ON else loads(bytes(raw)) for name, raw in result.items()}
                return {"id": answer.id, "result": members}
        except (ValueError, RecursionError):
            pass  # whatever is wrong with it, `loads` says so in its own words
    return loads(data)


def _is_bounded(data: bytes, result: _UsualResult) -> bool:
    """Whether an answer has as few values as may be, and none that is nested too deep: texts never are, whatever they
    have in them.

    Raises:
        ValueError: its content is none.
    """
    if may_have_many_values(data) or not has_many_brackets(data):
        return not may_have_many_values(data)
    values = [raw for item in _contents.decode(result.content) for raw in item.values()]
    if len(memoryview(result.content)) - sum(len(memoryview(raw)) for raw in values) > MAX_DEPTH:
        parts = [result.content]  # of two members with one name the first is not among them, and is passed on, too
    else:
        parts = [raw for raw in values if memoryview(raw)[0] != _QUOTE]
    parts += [raw for raw in (result.structured, result.meta) if raw is not _UNSET]
    return not any(may_be_deep(bytes(part)) for part in parts)


def _result_meta(data: bytes) -> Any:
    """`_meta` of a result, which is kept if it says no more than which server it is from, as that of the next will. Of
    what else may be in it, somebody changes a part.

    Raises:
        ValueError: it is no JSON.
    """
    value = loads(data)
    if isinstance(value, dict) and len(data) <= LONGEST_META and value.keys() == {META_SERVER_INFO}:  # pyright: ignore[reportUnknownMemberType]
        if len(_result_metas) >= MAX_METAS:
            _result_metas.clear()
        _result_metas[data] = cast("dict[str, Any]", value).copy()
    return cast(Any, value)


class Meta(dict[str, Any]):
    """`_meta` of a request, as its client sends it again and again: shared between requests, and not to be changed.

    `memo` keeps what follows from it, by what else it follows from.
    """

    __slots__ = ("memo",)

    def __init__(self, members: dict[str, Any]) -> None:
        super().__init__(members)
        self.memo: dict[object, Any] = {}

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise TypeError("It is shared between requests; make another one.")

    setdefault = update = pop = __delitem__ = __setitem__  # pyright: ignore[reportAssignmentType]


LONGEST_ID: Final = 1024
"""Characters of an id or a progress token: it is kept, and repeated with each message about its request."""


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of a request, if there are none but the usual ones."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    uri: str | msgspec.UnsetType = msgspec.UNSET
    cursor: str | msgspec.UnsetType = msgspec.UNSET
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="_meta")


class _Usual(msgspec.Struct, forbid_unknown_fields=True):
    """A request as nearly all are."""

    jsonrpc: Literal["2.0"]
    method: str
    params: _Params
    id: int | Annotated[str, msgspec.Meta(max_length=LONGEST_ID)] | msgspec.UnsetType = msgspec.UNSET


class _Request(msgspec.Struct):
    """A request for an upstream's tool, as far as it is looked into."""

    jsonrpc: str
    method: str
    params: dict[str, msgspec.Raw]
    id: Any = msgspec.UNSET  # null is none that anybody may give, and not the same as none
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_requests: Final = msgspec.json.Decoder(_Request)
_usuals: Final = msgspec.json.Decoder(_Usual)
_metas: Final[dict[bytes, Meta]] = {}
"""Of requests."""
_result_metas: Final[dict[bytes, dict[str, Any]]] = {}
"""Of results. They are shared, and not changed."""
MAX_METAS: Final = 256
LONGEST_META: Final = 2048
"""Bytes of one that is kept."""


def loads_request(data: bytes) -> Any:
    """Decode one message, but of a `tools/call` not the arguments, which are passed on as the bytes they came as: see
    `loads_answer`.

    Raises:
        ValueError, TooManyValues: as `loads`.
    """
    if data.find(_CALL) >= 0:
        data = data.strip()
        if _is_one_line(data) and not needs_a_look(data):
            try:
                return _unusual_call(data)
            except (ValueError, RecursionError):
                pass
    return loads(data)


def usual_request(data: bytes) -> Message | None:
    """Decode a request that is as nearly all are; None for any other message, of which it has yet to be seen whether it
    is one.

    It is a request or notification of JSON-RPC 2.0 with parameters that have the usual names, and an envelope, if any,
    that may be shared. The arguments of a `tools/call` are an object, as the bytes they came as.
    """
    if not _is_one_line(data) or (len(data) > MAX_DEPTH and needs_a_look(data)):
        return None
    try:
        request = _usuals.decode(data)
        given, id, method = request.params, request.id, request.method
        params: dict[str, Any] = {}
        if given.name is not _UNSET:
            params["name"] = given.name
        if (arguments := given.arguments) is not _UNSET:
            if memoryview(arguments)[0] != _BRACE:
                return None
            params["arguments"] = arguments if method == _TOOLS_CALL else loads(bytes(arguments))
        if given.uri is not _UNSET:
            params["uri"] = given.uri
        if given.cursor is not _UNSET:
            params["cursor"] = given.cursor
        if given.meta is not _UNSET:
            text = bytes(given.meta)
            meta = _metas.get(text) or _shared(text)
            if meta is None:
                return None
            params["_meta"] = meta
    except (ValueError, RecursionError):
        return None
    if id is _UNSET:
        return {"jsonrpc": "2.0", "method": method, "params": params}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def _unusual_call(data: bytes) -> Message:
    """
    Raises:
        ValueError: it is no `tools/call`.
    """
    request = _requests.decode(data)
    if request.method != _TOOLS_CALL or request.result is not msgspec.UNSET or request.error is not msgspec.UNSET:
        raise ValueError
    params = {name: _passed_on(name, raw) for name, raw in request.params.items()}
    message = {"jsonrpc": request.jsonrpc, "method": request.method, "params": params}
    return message if request.id is msgspec.UNSET else {**message, "id": request.id}


def _shared(data: bytes) -> Meta | None:
    """
    Raises:
        ValueError: it is no JSON.
    """
    if len(data) > LONGEST_META or data.find(b"[") >= 0:  # an array may need mending
        return None  # and it is decoded, whatever that takes, once
    value: Any = loads(data)
    if not isinstance(value, dict):
        return None
    token: object = cast("dict[str, Any]", value).get("progressToken")
    if isinstance(token, str) and len(token) > LONGEST_ID:
        return None
    if len(_metas) >= MAX_METAS:
        _metas.clear()
    meta = _metas[data] = Meta(cast("dict[str, Any]", value))
    return meta


def _passed_on(name: str, raw: msgspec.Raw) -> Any:
    data = bytes(raw)
    return raw if name == "arguments" and data.startswith(b"{") else loads(data)


def _is_one_line(data: bytes) -> bool:
    """Whether it can stand anywhere as it is."""
    return _LF not in data and _CR not in data and (data.isascii() or _is_utf8(data))


def opened(result: dict[str, Any]) -> dict[str, Any]:
    """A result, or the parameters of a request, with nothing in it that is still bytes. Changed in place.

    Raises:
        ValueError: a member is nested too deep, or has too many values.
    """
    for name, value in result.items():
        if isinstance(value, msgspec.Raw):
            result[name] = loads(bytes(value))
    return result


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _loads(data: bytes) -> Any:
    if not exact.is_needed(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # it also refuses dense documents that begin as if they were indented: it reserves too little memory
    return exact.loads(data)


def _is_deep(value: Any) -> bool:
    """Whether it is nested more than `MAX_DEPTH` deep. What `orjson` writes, in next to no time, is not."""
    try:
        orjson.dumps(value, exact.verbatim)
    except TypeError:
        return depth(value) > MAX_DEPTH
    return False


@contextmanager
def _without_collector() -> Generator[None]:
    """Nothing of a document is garbage while it is decoded, and looking for some takes longer than decoding."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Encode as compact UTF-8 JSON. With `sort_keys`, values that differ in the order of keys only give equal bytes.

    Raises:
        ValueError: the value has no JSON form, or is nested some 900 deep.
    """
    try:
        return orjson.dumps(value, exact.verbatim, orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        return exact.dumps(value, sort_keys=sort_keys)


def dumps_to_keep(value: Any) -> bytes:
    """As `dumps`, for what is kept: `orjson` reserves 4 KiB, or up to ten times what it writes, and keeps all of it."""
    return bytes(memoryview(dumps(value)))


def dumps_spliced(message: Message | list[Message]) -> bytes:
    """Encode a message of which the large parts are there as bytes (`PASSED_ON`): as `dumps`, in a third of the time.
    What has long texts that are not takes longer.

    Raises:
        ValueError: as `dumps`.
    """
    try:
        return exact.encode_spliced(message)
    except (TypeError, ValueError, OverflowError, RecursionError):  # of which a UnicodeEncodeError is one
        return dumps(message)


def pretty(value: Any) -> str:
    """For people: indented, every number as it was written."""
    return msgspec.json.format(dumps(value), indent=2).decode()


def request(id: RequestId, method: str, params: dict[str, Any] | None) -> Message:
    message: Message = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        message["params"] = params
    return message


def notification(method: str, params: dict[str, Any] | None) -> Message:
    message: Message = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return message


def result(id: RequestId, value: dict[str, Any]) -> Message:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: RequestId | None, code: int, message: str, data: Any = None) -> Message:
    """`id` is None when the request's own could not be read (JSON-RPC 2.0, section 5)."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": body}


def mended(value: object) -> object:
    """`value`, but an empty object for an empty array, where only an object can be meant: PHP knows no difference."""
    return {} if value == [] else value


def as_object(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def is_id(value: object) -> TypeGuard[RequestId]:
    """Whether `value` can be a request id. Booleans are integers to Python, not to JSON."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, str | int) and not isinstance(value, bool)


def error_code(value: object, default: int) -> int:
    """An error's code; `default` for one that is no integer, or larger than clients can read (2⁵³)."""
    if is_id(value) and not isinstance(value, str) and abs(value) < 2**53:
        return int(value)
    return default
