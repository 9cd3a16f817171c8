"""JSON in and out: what passes through comes out as it went in, and nothing takes long to decode."""

import gc
import json
import tracemalloc
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonrpc
from gateway.json_bounds import may_be_deep
from gateway.jsonrpc import (
    MAX_DEPTH,
    MAX_VALUES,
    TooManyValues,
    dumps,
    dumps_to_keep,
    error_code,
    loads,
    loads_answer,
    loads_request,
    opened,
    unusual_answer,
    usual_answer,
    usual_request,
)

LARGE = 100_000
"""Bytes from which on values are counted, and more."""

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(values)
def test_there_and_back(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("digits", [18, 19, 20, 39, 308])
@pytest.mark.parametrize("sign", [1, -1])
def test_long_integers_stay_what_they_are(digits: int, sign: int) -> None:
    value = {"n": sign * int("123456789" * (digits // 9 + 1)) % 10**digits}
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("sort_keys", [False, True])
@pytest.mark.parametrize("beside", ["1", str(2**70)])
@pytest.mark.parametrize(
    "number",
    [
        "1.50",
        "1e5",
        "1E+2",
        "1e400",
        "-1e-400",
        "0.1234567890123456789",
        "-0",
        "-0.0",
        "0.10",
        "1.7976931348623157e308",
    ],
)
def test_numbers_keep_their_text(number: str, beside: str, sort_keys: bool) -> None:
    data = f'{{"a":[{number},{beside}],"z":"-0, 1.0"}}'.encode()
    assert dumps(loads(data), sort_keys=sort_keys) == data


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_keeps_its_text(value: float) -> None:
    for text in (repr(value), f"{value:.30e}", f"{value:f}"):
        assert dumps(loads(f"[{text}]".encode())) == f"[{text}]".encode()


def test_what_is_dense_but_begins_as_if_it_were_indented() -> None:
    assert loads(b'{\n  "a": [' + b"0," * 10_000 + b"0]}") == {"a": [0] * 10_001}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1,]",
        b"[1.0,]",
        b"[01.0]",
        b"[-0,NaN]",
        b'[-0,"\t"]',
        b"[1.0] 2",
        b'"\xff"',
        b'"\\ud80"',
        b'["\\ud800", NaN]',
        b'["\\ud800", "\xed\xa0\x80"]',
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"NaN",
        b"9" * 5000,
        b"[" + b"9" * 5000 + b"]",
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * (MAX_DEPTH + 1) + b"1" * 30 + b"]" * (MAX_DEPTH + 1),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever a decoder says
        loads(data)


@pytest.mark.parametrize("half", [b'"cut \\ud83d"', b'"\\udc00"', b'["\\ud83d",{"\\udfff":12345678901234567890}]'])
def test_half_a_surrogate_pair_stays_its_escape(half: bytes) -> None:
    assert dumps(loads(half)) == half
    assert dumps(loads(half.upper().replace(b"\\U", b"\\u"))).lower() == half
    assert dumps(loads(b'"\\ud83d\\ude00 \\\\ud83d"')) == '"😀 \\\\ud83d"'.encode(), "neither of these is one"


def test_a_byte_order_mark_is_skipped() -> None:
    assert loads(b'\xef\xbb\xbf{"a": "\xef\xbb\xbf"}') == {"a": "\ufeff"}


def test_what_is_kept_takes_as_many_bytes_as_it_has() -> None:
    values = [{"a": "x" * length} for length in (1, 900, 5000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [dumps_to_keep(value) for value in values * 10]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept[: len(values)] == [dumps(value) for value in values]
    assert taken < 2 * sum(map(len, kept))


def test_what_can_be_an_error_code() -> None:
    assert error_code(-32000, 0) == error_code(-32000.0, 0) == -32000
    for none in (2**70, -(2**53), 1e300, 1.5, "1", None, True):
        assert error_code(none, 0) == 0


@pytest.mark.parametrize("inside", [b"", b"1" * 30])
def test_what_is_let_in_can_be_written_again(inside: bytes) -> None:
    deep = b"[" * MAX_DEPTH + inside + b"]" * MAX_DEPTH
    assert dumps({"result": {"structuredContent": loads(deep)}}) == b'{"result":{"structuredContent":%b}}' % deep


def test_what_is_nested_without_end_is_no_json() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="recursion"):
        dumps(value)


# --- How many values --------------------------------------------------------------------------------------------------


def padded(data: bytes) -> bytes:
    return data.ljust(LARGE)


@pytest.mark.parametrize("item", [b"1", b"[]", b"{}", b'""', b'{"a":1}', b"[[]]", b"null"])
def test_values_are_counted(item: bytes) -> None:
    marks = 1 + item.count(b"[") + item.count(b"{")
    most = (500 - 1) // marks
    assert len(loads(padded(b"[" + b",".join([item] * most) + b"]"), 500)) == most
    with pytest.raises(TooManyValues):
        loads(padded(b"[" + b",".join([item] * 501) + b"]"), 500)


@pytest.mark.parametrize(
    "text", ["1,2,3,", "[{,", '","', "\\", '\\",', '\\\\",', "\\\\,", '{"a": [1, 2]}'], ids=lambda text: repr(text)
)
def test_what_stands_in_strings_is_no_value(text: str) -> None:
    value = {"text": text * LARGE, "more": [text, text]}
    assert loads(json.dumps(value).encode(), 500) == value


@given(st.lists(st.text(st.sampled_from('a,[{"\\')), min_size=1, max_size=20), values)
def test_what_is_counted(texts: list[str], value: Any) -> None:
    document = [texts, value]
    data = padded(dumps(document))
    assert loads(data, _marks(document)) == document
    with pytest.raises(TooManyValues):
        loads(data, _marks(document) - 1)


def _marks(value: Any) -> int:
    """Arrays, objects, and commas between what is in them."""
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    if not isinstance(value, list):
        return 0
    inner = cast("list[Any]", value)
    return 1 + max(len(inner) - 1, 0) + sum(map(_marks, inner))


@pytest.mark.parametrize("data", [padded(b"[]"), padded(b"[")])
@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(data: bytes, enabled: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(ValueError):
            loads(data)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


# --- What is passed on as bytes ---------------------------------------------------------------------------------------


def answer(content: str) -> bytes:
    return b'{"id":1,"result":{"content":%b,"isError":false}}' % content.encode()


def request(arguments: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":%b}}' % arguments.encode()


@pytest.mark.parametrize("text", ['{"n":1.50,"n":1e400}', '{"a": [ "☃" ]}', "{}"])
def test_content_and_arguments_come_out_to_the_byte(text: str) -> None:
    result = loads_answer(answer(text))["result"]
    assert result["isError"] is False
    assert dumps(result) == b'{"content":%b,"isError":false}' % text.encode()
    params = loads_request(request(text))["params"]
    assert params["name"] == "a"
    assert dumps(params) == b'{"name":"a","arguments":%b}' % text.encode()


@pytest.mark.parametrize("text", ['{"a":\n1}', '{"a":\r1}'])
def test_what_does_not_stand_on_one_line_is_encoded_anew(text: str) -> None:
    assert dumps(loads_answer(answer(text))["result"]["content"]) == b'{"a":1}'
    assert dumps(loads_request(request(text))["params"]["arguments"]) == b'{"a":1}'


@pytest.mark.parametrize("make", [answer, request])
@pytest.mark.parametrize("bad", ["{", '{"a":01}', '{"a":NaN}', '{"a":"\x01"}', "{]"])
def test_what_is_no_json_is_not_passed_on(make: Any, bad: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|column|byte|truncated"):
        (loads_answer if make is answer else loads_request)(make(bad))


@pytest.mark.parametrize("decode", [loads_answer, loads_request])
def test_what_is_passed_on_is_utf8(decode: Any) -> None:
    make = answer if decode is loads_answer else request
    with pytest.raises(ValueError, match=r"utf-8|UTF-8"):
        decode(make('{"a":"x"}').replace(b"x", b"\xff"))


@pytest.mark.parametrize("decode", [loads_answer, loads_request])
def test_what_is_passed_on_has_the_bounds_of_what_is_decoded(decode: Any) -> None:
    make = answer if decode is loads_answer else request
    deep = MAX_DEPTH - 10
    decode(make('{"a":' * deep + "1" + "}" * deep))
    with pytest.raises(ValueError, match="deep"):
        decode(make('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)))
    with pytest.raises(TooManyValues):
        decode(make('{"a":[' + "0," * MAX_VALUES + "0]}"))


def test_what_was_passed_on_can_be_opened() -> None:
    result = loads_answer(answer('[{"n":1.50}]'))["result"]
    assert dumps(opened(result)) == b'{"content":[{"n":1.50}],"isError":false}'
    assert isinstance(result["content"], list)


# --- What is as nearly all are ----------------------------------------------------------------------------------------

CONTENT = '[{"type":"text","text":"☃","n":1.50}]'
LONG, DEEP = "x" * 5000, "[" * 600 + "]" * 600
USUAL = (
    '{"jsonrpc":"2.0","id":7,"result":{"content":[]}}',
    '{"jsonrpc":"2.0","id":"7","result":{"content":' + CONTENT + ',"isError":true}}',
    '{"result":{"_meta":{"n":1.50,"x":{}},"structuredContent":{"a":1e400},"content":[]},"id":7}',
    '{"id":7,"id":8,"result":{"content":[1],"content":[2],"resultType":"complete"}}',
    ' {"id":7,"result":{"content":null,"_meta":[1.0]}}\n',
    '{"id":7,"result":{"content":[],"_meta":{"a":"' + LONG + '"}}}',
)
UNUSUAL = (
    '{"id":7.0,"result":{"content":[]}}',
    '{"id":true,"result":{"content":[]}}',
    '{"id":null,"result":{"content":[]}}',
    '{"id":7,"result":{"content":[],"isError":null}}',
    '{"id":7,"result":{"content":[],"resultType":1}}',
    '{"id":7,"result":{"content":[],"x":1}}',
    '{"id":7,"result":{"content":[]},"error":{}}',
    '{"id":7,"result":{"content":[]},"method":"x"}',
    '{"id":7,"result":{"isError":false}}',
    '{"id":7,"result":[]}',
    '{"id":7,"result":{"content":\n[]}}',
    '{"id":7,"result":{"content":"\\ud83d","resultType":"\\ud83d"}}',
    '{"id":7,"result":{"content":[]}',
    '{"id":7,"result":{"content":' + DEEP + "}}",
    '{"id":7,"result":{"content":[],"_meta":' + DEEP + "}}",
    '{"id":7,"result":{"content":[' + "0," * MAX_VALUES + "0]}}",
)


@pytest.mark.parametrize("text", USUAL)
def test_a_usual_answer_is_what_any_would_be(text: str) -> None:
    for _ in range(2):  # from the second on, it is known what `_meta` says
        usual, any_other = usual_answer(text.encode()), unusual_answer(text.encode())
        assert usual is not None
        assert usual[0] == any_other["id"]
        assert {name: dumps(value) for name, value in usual[1].items()} == {
            name: dumps(value) for name, value in any_other["result"].items()
        }


@pytest.mark.parametrize("text", UNUSUAL, ids=lambda text: text[:60])
def test_all_other_answers_are_unusual(text: str) -> None:
    assert usual_answer(text.encode()) is None
    assert usual_answer(text.encode().replace(b"7", b"\xff")) is None


def test_what_is_changed_in_the_meta_of_a_result_is_not_in_the_next() -> None:
    text = b'{"id":7,"result":{"content":[],"_meta":{"ui":{"resourceUri":"ui://a"}}}}'
    for _ in range(3):
        interface = loads_answer(text)["result"]["_meta"]["ui"]
        assert interface == {"resourceUri": "ui://a"}
        interface["resourceUri"] = "ui://of-another-server/a"


def test_what_is_done_to_one_result_is_done_to_no_other() -> None:
    text = b'{"id":7,"result":{"content":[],"_meta":{"a":1}}}'
    for _ in range(3):
        usual = usual_answer(text)
        assert usual is not None
        assert usual[1]["_meta"] == {"a": 1}
        usual[1]["_meta"]["b"] = 2


@pytest.mark.parametrize("id", ["7", '"7"', "123456789012345678901234567890", '"' + "x" * 1024 + '"'])
def test_ids_that_are_usual(id: str) -> None:
    text = b'{"jsonrpc":"2.0","id":%b,"method":"m","params":{}}' % id.encode()
    usual = usual_request(text)
    assert usual is not None
    assert dumps(usual["id"]).decode() == id


@pytest.mark.parametrize("id", ["7.0", "true", "null", "1e2", '"' + "x" * 1025 + '"', "{}"])
def test_ids_that_are_not(id: str) -> None:
    assert usual_request(b'{"jsonrpc":"2.0","id":%b,"method":"m","params":{}}' % id.encode()) is None


TRICKS = ('"]"', '"\\\\"', '"\\""', '"]}\\\\"', "[]", '{"]":"["}', '"\\\\\\"]"', '"","]","\\n\\\\"')


def places(value: str) -> tuple[bytes, ...]:
    """Answers with that somewhere in their result."""
    return (
        answer('[{"type":"text","text":"]"},{"type":"x","x":%VALUE%}]'.replace("%VALUE%", value)),
        answer('[],"structuredContent":' + value),
        answer('[],"_meta":' + value),
    )


@pytest.mark.parametrize("beside", TRICKS)
def test_nothing_beside_it_hides_how_deep_it_is(beside: str) -> None:
    for deep, is_usual in ((MAX_DEPTH + 1, False), (MAX_DEPTH // 4, True)):
        for text in places(f"[{beside}," * deep + "1" + "]" * deep):
            assert (usual_answer(text) is not None) is is_usual
            if not is_usual:
                with pytest.raises(ValueError, match="deep"):
                    loads_answer(text)


@pytest.mark.parametrize("beside", ["", '"y":"]",', '"text":' + json.dumps("[]" * MAX_DEPTH) + ","])
def test_no_member_of_the_same_name_hides_how_deep_another_is(beside: str) -> None:
    twice = answer('[{"type":"x",' + beside + '"x":' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + ',"x":"]"}]')
    assert usual_answer(twice) is None
    assert len(dumps(loads_answer(twice))) < len(twice) - MAX_DEPTH, "the last counts, and no other is passed on"


@pytest.mark.parametrize("item", ['{"a":["[","]"]}', '{"{\\"":[[],{}]}', "[[[[[[[[]]]]]]]]"])
def test_what_is_wide_is_usual_also_as_a_text(item: str) -> None:
    wide = f"[{','.join([item] * 1000)}]"
    for value in (wide, json.dumps(wide), json.dumps(json.dumps(wide))):
        for text in places(value):
            usual = usual_answer(text)
            assert usual is not None
            assert dumps(usual[1]["content"]) in text


@pytest.mark.parametrize("meta", ['{"a":[]}', json.dumps({"a": "x" * jsonrpc.LONGEST_META})])
def test_an_envelope_that_is_not_kept_is_not_decoded_to_see_that(meta: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take long, and is decoded afterwards."""
    data = request('{},"_meta":' + meta).replace(b'"arguments":{}', b'"name":"a"')
    assert loads_request(data)["params"]["_meta"] == json.loads(meta)
    monkeypatch.setattr(jsonrpc, "loads", None)
    assert usual_request(data) is None


@pytest.mark.parametrize("layer", ["[]", "{}"])
def test_how_deep_it_may_be_shows_to_a_few_layers(layer: str) -> None:
    """By one look at its brackets: what takes one for each layer is a request that holds everybody up."""
    begin, end = (b"[", b"]") if layer == "[]" else (b'{"a":', b"}")
    for deep, may in ((MAX_DEPTH - 20, False), (MAX_DEPTH, True), (MAX_DEPTH + 1, True), (99_000, True)):
        assert may_be_deep(begin * deep + b"1" + end * deep) is may


@pytest.mark.parametrize("end", [b"]}", b"]", b'"]', b'"'])
def test_what_cannot_be_json_is_not_looked_into(end: bytes) -> None:
    garbage = b"[" * (MAX_DEPTH + 1) + end * 300_000
    assert may_be_deep(garbage)
    with pytest.raises(ValueError, match="JSON"):
        loads(garbage)


def test_content_that_is_none_is_not_usual_where_there_is_much_of_it() -> None:
    for content in ("[[]" + ",[]" * 600 + "]", '{"a":[[]' + ",[]" * 600 + "]}"):
        assert usual_answer(answer(content)) is None
        assert dumps(loads_answer(answer(content))["result"]["content"]) == content.encode()


@given(st.lists(st.tuples(st.sampled_from(TRICKS), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_whatever_is_too_deep_gets_a_look(layers: list[tuple[str, bool, bool]]) -> None:
    value = "1"
    for number in range(MAX_DEPTH + 1):
        beside, is_array, is_behind = layers[number % len(layers)]
        inner = f"{value},{beside}" if is_behind else f"{beside},{value}"
        value = f"[{inner}]" if is_array else f'{{"x":[{inner}]}}'
    assert all(usual_answer(text) is None for text in places(value))
