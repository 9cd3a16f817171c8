"""What docs/profiles.md says of search, measured: `python -m tests.search.measure`."""

import time
from itertools import islice

from gateway.catalogue.shapes import OWN_TOOLS
from gateway.catalogue.weights import BYTES_A_TOKEN, tokens_of
from gateway.server.tool_search import DEFAULT_LIMIT
from tests.search.collection import index_of, recall, tools, wishes

MANY = 1_000


def main() -> None:
    some = tools()
    servers = {name.partition("/")[0] for name in some}
    index = index_of(some)
    print(f"{len(some)} tools of {len(servers)} servers")
    for file in ("tuning.tsv", "held_out.tsv"):
        asked = wishes(file)
        shares = ", ".join(f"recall@{limit} {recall(index, asked, limit):.3f}" for limit in (1, 5, 10))
        print(f"{file}: {len(asked)} wishes, {shares}")

    copies = {f"{name}{copy}": tool for copy in ("", " again") for name, tool in some.items()}
    many = dict(islice(copies.items(), MANY))
    began = time.process_time()
    index_of(many)
    print(f"index of {len(many)} tools: {(time.process_time() - began) * 1000:.0f} ms of CPU")
    large, asked = index_of(many), wishes("held_out.tsv")
    began = time.process_time()
    for wish in asked:
        large.search(wish.words, DEFAULT_LIMIT)
    print(f"a search in it: {(time.process_time() - began) / len(asked) * 1000:.2f} ms of CPU")

    whole = sum(tool["bytes"] for tool in some.values()) / BYTES_A_TOKEN
    ours = sum(map(tokens_of, OWN_TOOLS.values()))
    answers = [sum(some[name]["bytes"] for name in index.search(wish.words, DEFAULT_LIMIT)) for wish in asked]
    answer = sum(answers) / len(answers) / BYTES_A_TOKEN
    print(f"tokens: whole list {whole:,.0f}; our two {ours:,.0f}; an answer of find_tools {answer:,.0f}")
    for count in (1, 3, 10):
        print(f"  after {count} searches: {ours + count * answer:,.0f}, {1 - (ours + count * answer) / whole:.0%} less")


if __name__ == "__main__":
    main()
