"""The nouns of a WordNet database, and how alike two of them are."""

import re
from pathlib import Path

# What a plural ends in, and what stands in its place in the singular.
_ENDINGS = {
    "s": "",
    "ses": "s",
    "ves": "f",
    "xes": "x",
    "zes": "z",
    "ches": "ch",
    "shes": "sh",
    "men": "man",
    "ies": "y",
}


class Nouns:
    """Looks up nouns in the files of a WordNet database (`man 5 wndb`), of any version.

    A synset is known by its offset, a whole number: the byte at which its line begins.

    Args:
        folder: Of `index.noun`, `data.noun` and `noun.exc`. Debian's package wordnet-base puts
            them into `/usr/share/wordnet`.

    Raises:
        ValueError: if a file is missing or not of a WordNet database.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._data = self._file("data.noun")
        self._index = {
            line.split(" ", 1)[0]: line
            for line in self._file("index.noun").decode("utf-8", "replace").splitlines()
            if line and not line.startswith(" ")
        }
        exceptions = self._file("noun.exc").decode("utf-8", "replace").splitlines()
        self._exceptions = {line.split()[0]: line.split()[1:] for line in exceptions if line}
        self._above, self._depths, self._synsets = {}, {}, {}

    def _file(self, name):
        path = self.folder / name
        if not path.is_file():
            raise ValueError(
                "`wordnet` should be the folder of a WordNet database, with index.noun, data.noun "
                f"and noun.exc. Received: {str(self.folder)!r}, which has no {name}"
            )
        return path.read_bytes()

    @property
    def version(self):
        """Of the database, such as "3.0"."""
        found = re.search(rb"WordNet (\d[\d.]*\d)", self._data[:4000])
        return found[1].decode() if found else "unknown"

    def senses(self, word):
        """Synsets of a noun, also in the plural: list of offsets, which may be empty."""
        word = word.lower()
        singulars = self._exceptions.get(word) or [
            word[: -len(ending)] + singular
            for ending, singular in _ENDINGS.items()
            if word.endswith(ending)
        ]
        forms = dict.fromkeys([word, *singulars])
        return [offset for form in forms for offset in self._offsets(form)]

    def _offsets(self, lemma):
        if lemma not in self._index:
            return []
        fields = self._index[lemma].split()
        return [int(offset) for offset in fields[-int(fields[2]) :]]

    def similarity(self, left, right):
        """The highest Wu-Palmer similarity of any senses of two words, 0 where one has none."""
        pairs = ((x, y) for x in self.senses(left) for y in self.senses(right))
        return max((self._wu_palmer(x, y) for x, y in pairs), default=0.0)

    def _wu_palmer(self, x, y):
        """Twice the depth of what they share, over the way from both of them to the root.

        Of the hypernyms that both have, the one with the longest of the shortest ways to the root
        counts, with the longest of its own ways; of several the first by name. So NLTK has it.
        """
        above = self._hypernyms(x), self._hypernyms(y)
        shared = above[0].keys() & above[1].keys()
        if not shared:
            return 0.0
        deepest = max(self._depth(synset, min) for synset in shared)
        lowest = {synset for synset in shared if self._depth(synset, min) == deepest}
        found = x if x in lowest else min(lowest, key=self._name)
        depth = self._depth(found, max) + 1
        beyond = self._hypernyms(found)
        # Through a hypernym of the shared one the way may be shorter.
        steps = sum(
            min(way[synset] + beyond[synset] for synset in way.keys() & beyond.keys())
            for way in above
        )
        return 2 * depth / (steps + 2 * depth)

    def _hypernyms(self, synset):
        """A synset and all above it, each with the fewest steps to it."""
        if synset not in self._above:
            steps, left = {synset: 0}, [synset]
            for below in left:
                for above in self._synset(below)[1]:
                    if above not in steps:
                        steps[above] = steps[below] + 1
                        left.append(above)
            self._above[synset] = steps
        return self._above[synset]

    def _depth(self, synset, choose):
        """Steps to the root, the shortest way (`min`) or the longest (`max`)."""
        if (synset, choose) not in self._depths:
            ways = [self._depth(above, choose) + 1 for above in self._synset(synset)[1]]
            self._depths[synset, choose] = choose(ways, default=0)
        return self._depths[synset, choose]

    def _name(self, synset):
        lemma = self._synset(synset)[0]
        return f"{lemma}.n.{self._offsets(lemma).index(synset) + 1:02d}"

    def _synset(self, offset):
        """First lemma of a synset, and the offsets of what is right above it."""
        if offset not in self._synsets:
            line = self._data[offset : self._data.find(b"\n", offset)].decode("utf-8", "replace")
            if not line.startswith(f"{offset:08d} "):
                raise ValueError(
                    "`wordnet` should be the folder of a whole WordNet database. Received: "
                    f"{str(self.folder)!r}, whose data.noun has no synset at byte {offset}"
                )
            fields = line.split(" | ")[0].split()
            pointers = fields[5 + 2 * int(fields[3], 16) :]
            above = [
                int(target)
                for symbol, target in zip(pointers[::4], pointers[1::4], strict=True)
                if symbol in ("@", "@i")
            ]
            self._synsets[offset] = fields[4].lower(), above
        return self._synsets[offset]
