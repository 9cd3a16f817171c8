# type: ignore - NumPy and SciPy are needed for this alone, and are no dependency
"""Makes `gateway/search/meanings.bin` of WordNet and `words.txt`:

    uv run --with scipy python -m tests.search.make_meanings FOLDER

FOLDER has the files of WordNet 3.0 (Debian's `wordnet-base` has them in /usr/share/wordnet). Latent semantic analysis:
each synset is a document, of its words, those it is related to, and its gloss; each line of `words.txt` is one too, and
says what words mean to tools (a bug is no insect). The vectors' lengths are how much a word says.
"""

import math
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from gateway.search.words import words_of

DIMENSIONS: Final = 96
MOST: Final = 128
"""Dimensions that are computed; the last of those are the least certain."""
RARE: Final = 12
"""Synsets in which a word must be."""
OURS: Final = 10.0
"""How much a line of `words.txt` counts, to one synset."""
STEPS: Final = 300
"""Of the numbers, to the length of the vector of the word that says most."""
RELATED: Final = {"@": 1.0, "&": 1.0, "+": 1.0, "$": 1.0, "~": 0.3}
"""Hypernyms, similar and derived words, verbs of a group, and hyponyms."""


def synsets(folder: Path) -> list[Counter]:
    read = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith(" "):
                continue
            head, _, gloss = line.partition("|")
            fields = head.split()
            many = int(fields[3], 16)
            words = [fields[4 + 2 * number].partition("(")[0].replace("_", " ") for number in range(many)]
            at = 4 + 2 * many
            links = [fields[at + 1 + 4 * number : at + 4 + 4 * number] for number in range(int(fields[at]))]
            read[part[0], fields[0]] = words, gloss, links
    found = []
    for words, gloss, links in read.values():
        if all(word[:1].isupper() for word in words):
            continue  # names
        counted = Counter(words_of(gloss))
        for word in words:
            counted.update(dict.fromkeys(words_of(word), 3))
        for kind, offset, part in links:
            for word in read.get((part, offset), ([],))[0][:3] if kind in RELATED else ():
                for stem in words_of(word):
                    counted[stem] += RELATED[kind]
        found.append(counted)
    return found


def main() -> None:
    texts = synsets(Path(sys.argv[1]))
    ours = []
    for line in (files("gateway.search") / "words.txt").read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            ours.append(Counter(words_of(line.replace(">", ",").replace(":", ","))))
    seen = Counter(stem for text in texts for stem in text)
    stems = sorted({stem for stem, many in seen.items() if many >= RARE} | {stem for text in ours for stem in text})
    stems = [stem for stem in stems if stem.isalpha()]
    number = {stem: index for index, stem in enumerate(stems)}
    says = {stem: math.log(len(texts) / (1 + max(1, seen[stem]))) for stem in stems}

    rows, columns, values = [], [], []
    for column, (text, weight) in enumerate([*((each, 1.0) for each in texts), *((each, OURS) for each in ours)]):
        known = {stem: says[stem] * (1 + math.log(max(1.0, many))) for stem, many in text.items() if stem in number}
        length = math.sqrt(sum(value * value for value in known.values())) or 1.0
        for stem, value in known.items():
            rows.append(number[stem])
            columns.append(column)
            values.append(weight * value / length)
    matrix = csr_matrix((values, (rows, columns)), dtype="f4")
    left, sizes, _ = svds(matrix, k=MOST, random_state=1)
    order = np.argsort(-sizes)[:DIMENSIONS]
    vectors = left[:, order] * np.sqrt(sizes[order])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    length = np.array([says[stem] for stem in stems])
    vectors *= (length / length.max())[:, None]
    numbers = np.clip(np.round(vectors * STEPS), -127, 127).astype("i1")
    written = b"%d\n%b\n%b" % (DIMENSIONS, " ".join(stems).encode(), numbers.tobytes())
    Path(str(files("gateway.search") / "meanings.bin")).write_bytes(written)
    print(f"{len(stems)} words, {len(written):,} bytes")


if __name__ == "__main__":
    main()
