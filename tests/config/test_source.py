"""Text → data and lines, in both syntaxes, and every way a text can be refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.reading.source import MAX_BYTES, parse, read
from gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        # What YAML 1.1 would read as something else, and nobody means so.
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("True", "True"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("0123", "0123"),
        ("1.10", "1.10"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("=", "="),
        ("npx", "npx"),
        ("truely", "truely"),
        ("<", "<"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("!!str true", "true"),
        ("!!int 7", "7"),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_yaml_scalars(scalar: str, expected: Any) -> None:
    value = parse(f"key: {scalar}", "x.yaml").data["key"]
    assert (value, type(value)) == (expected, type(expected))


def test_keys_stay_text() -> None:
    assert parse("{1: a, true: b, on: c, ~: d, 2024-01-01: e}", "x.yaml").data == {
        "1": "a",
        "true": "b",
        "on": "c",
        "~": "d",
        "2024-01-01": "e",
    }


YAML = """\
gateway:
  port: 8080

servers:
  # a comment
  github:
    url: >-
      https://example.com
    args:
      - one
      - two
"""
JSONC = """\
{
  "gateway": {"port": 8080}, // one line

  "servers": {
    /* two
       lines */ "github": {
      "url":
        "https://example.com",
      "args": [
        "one",
        "two",
      ],
    },
  },
}
"""


@pytest.mark.parametrize(
    ("text", "name", "lines"), [(YAML, "x.yaml", (2, 6, 7, 10, 11)), (JSONC, "x.json", (2, 6, 7, 10, 11))]
)
def test_lines(text: str, name: str, lines: tuple[int, ...]) -> None:
    document = parse(text, name)
    server = ("servers", "github")
    places = [("gateway", "port"), server, (*server, "url"), (*server, "args", 0), (*server, "args", 1)]
    assert tuple(document.line(place) for place in places) == lines
    assert document.line((*server, "args", 1, "beyond")) == 11
    assert document.line((*server, "nothing")) == 6
    assert document.written((*server, "args", 1)) == "two"
    assert document.written((*server, "args", 7)) is None


@pytest.mark.parametrize(
    ("name", "text", "is_json"),
    [
        ("x.json", "{}", True),
        ("x.jsonc", "{}", True),
        ("x.JSON", "{}", True),
        ("x.yaml", "{}", False),
        ("x.yml", "{a: b}", False),
        ("config", '\n {"a": 1}', True),
        ("config", "// hi\n[]", True),
        ("config", "/* hi */ []", True),
        ("config", "a: 1", False),
    ],
)
def test_which_syntax(name: str, text: str, is_json: bool) -> None:
    assert parse(text, name).json is is_json


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"url": "http://a//b/*c*/d"}', {"url": "http://a//b/*c*/d"}),
        ('{"a": "say \\"// no comment\\""}', {"a": 'say "// no comment"'}),
        ('{"a": "\\\\"} // "', {"a": "\\"}),
        ('{"a": 1 /* , "b": 2 */}', {"a": "1"}),
        ('{"a": 1, /**/ }', {"a": "1"}),
        ('{"a": 1, /* ** / * */ }', {"a": "1"}),
        ("[1, 2, ]", ["1", "2"]),
        ("[]//", []),
        ('\t{\t"a"\t:\t[\t]\t}\t', {"a": []}),
        ('{"a": true, "b": false, "c": null}', {"a": True, "b": False, "c": None}),
        ('"\\ud83d\\ude00\\u00e9"', "😀é"),
        ('\ufeff{"a": -1.50e+3}', {"a": "-1.50e+3"}),
        ('{"a":\r\n1}\r\n', {"a": "1"}),
        ('{"<<": {"a": 1}}', {"<<": {"a": "1"}}),
    ],
)
def test_jsonc(text: str, data: Any) -> None:
    assert parse(text, "x.json").data == data


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "found the end of the file"),
        ("{", 1, "found the end of the file"),
        ('{"a": 1', 1, 'expected "," or "}"'),
        ('{"a" 1}', 1, 'expected ":"'),
        ('{"a":\n1,,}', 2, "expected a key in double quotes"),
        ("{'a': 1}", 1, "expected a key in double quotes"),
        ("{a: 1}", 1, "expected a key in double quotes"),
        ("[,]", 1, "expected a value"),
        ("[1 2]", 1, 'expected "," or "]"'),
        ("[1]\n[2]", 2, "expected the end of the file"),
        ("[01]", 1, "expected a value"),
        ("[+1]", 1, "expected a value"),
        ("[truely]", 1, "expected a value"),
        ("[NaN]", 1, "expected a value"),
        ('[\n"never closed]', 2, "never closed"),
        ('["a\nb"]', 1, "never closed"),
        ("[1]\n/* never closed", 2, "never closed"),
        ('["\\x"]', 1, "backslash escape"),
        ('{"a": 1,\n"a": 2}', 2, "the key 'a' is already on line 1"),
        ('["\\ud83d"]', 1, "surrogate"),
        ("[" * 70 + "]" * 70, 1, "nested more than 64 deep"),
        ("[" * 100_000, 1, "nested more than 64 deep"),
    ],
)
def test_broken_json(text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.json")
    assert caught.value.message.startswith(f"x.json:{line}: ")
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: [", 1, "but found"),
        ("a: 1\nb:\n\tc: 1", 3, "indent with spaces"),
        ("a: b: c", 1, "mapping values are not allowed here"),
        ('a: "x\nb: 1', 2, "which began on line 1"),
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is already on line 1"),
        ("a: {port: ${PORT}}", 1, "needs quotes"),
        ("a: *nothing", 1, "undefined alias"),
        ("a: &b [*b]", 1, "alias inside what it stands for"),
        ("a: 1\n---\nb: 1", 2, "another document"),
        ("a: !secret x", 1, "the tag '!secret' means nothing here"),
        ("a: !!binary x", 1, "means nothing here"),
        ("a: !!bool x", 1, "means nothing here"),
        ("a: 1\n{b: 1}: 2", 2, "a key must be text"),
        ("<<: 1", 1, "<< merges mappings only"),
        ("a: 1\nb: \x01", 2, "a character that YAML forbids"),
        ('a: "\\ud83d"', 1, "surrogate"),
        ("- " * 70, 1, "nested more than 64 deep"),
    ],
)
def test_broken_yaml(text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.yaml")
    assert caught.value.message.startswith(f"x.yaml:{line}: ")
    assert what in caught.value.message


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: '" + "\\" * 9 + "\n--- '", 'a: "\\UFFFFFFFF"', "%YAML 1." + "9" * 5000]
)
def test_yaml_that_trips_its_parser(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x\.yaml"):
        parse(text, "x.yaml")


def test_a_billion_laughs() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="more than 100000 values"):
        parse("\n".join(levels), "x.yaml")


def test_anchors_and_merge_keys() -> None:
    document = parse(
        "base: &base\n  timeout: 5s\n  lazy: true\nother: &other {lazy: false, tags: [a]}\n"
        "server:\n  <<: [*base, *other]\n  timeout: 9s\n",
        "x.yaml",
    )
    assert document.data["server"] == {"timeout": "9s", "lazy": True, "tags": ["a"]}
    assert document.line(("server", "timeout")) == 7
    assert document.line(("server", "lazy")) == 3
    assert document.line(("server", "tags", 0)) == 4


def test_reading_a_file(folder: Path) -> None:
    path = folder / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9")
    assert read(path).data == {"a": "é"}

    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ConfigError, match=r"x\.yaml:2: is not UTF-8"):
        read(path)

    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        read(path)

    with pytest.raises(ConfigError, match="there is no such file"):
        read(folder / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(folder)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(Path("a\0b"))


# --- JSON with noise in it parses as the JSON without -------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["//", "/* */", "http://x//y", ",]", ",}", '"', "\\", "\t", "\n"]
)
printable = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=12)


def documents(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=20,
    )


noise = st.lists(
    st.sampled_from([" ", "\n", "\t", "\r\n", "// to the end, \"'{[\n", "/* in, }] */", "/**/", "/*\n**\n*/", "//\n"]),
    max_size=3,
).map("".join)


@st.composite
def noisy(draw: st.DrawFn) -> tuple[str, Any]:
    value = draw(documents(texts))
    return _with_noise(draw, value), value


def _with_noise(draw: st.DrawFn, value: Any) -> str:
    comma = draw(st.sampled_from(["", ","])) if value else ""
    if isinstance(value, dict):
        pairs = [f"{draw(noise)}{json.dumps(key)}{draw(noise)}:{_with_noise(draw, value[key])}" for key in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        text = "{" + ",".join(pairs) + draw(noise) + comma + draw(noise) + "}"
    elif isinstance(value, list):
        items = [_with_noise(draw, item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        text = "[" + ",".join(items) + draw(noise) + comma + draw(noise) + "]"
    else:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return draw(noise) + text + draw(noise)


@settings(deadline=None)
@given(noisy())
def test_comments_and_trailing_commas_change_nothing(case: tuple[str, Any]) -> None:
    text, value = case
    assert parse(text, "x.json").data == json.loads(json.dumps(value), parse_int=str, parse_float=str)


@settings(deadline=None)
@given(documents(printable))
def test_yaml_reads_json_the_same_way(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse(text, "x.json").data == parse(text, "x.yaml").data
