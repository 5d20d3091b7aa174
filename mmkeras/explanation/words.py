"""Pieces of text as words."""

import re

import numpy as np

# A script without spaces has words of one character; elsewhere a word ends at spaces and marks.
_SPACELESS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_MARKS = r"!-&(-,./:-@\[-`{-~\u2010-\u2027\u3000-\u303f\uff00-\uff0f"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_MARKS}{_SPACELESS}]+|[{_MARKS}]")


def whole_words(tokens, tokenizer):
    """The words that tokens spell.

    Args:
        tokens: List of bytes; empty ones, such as padding, belong to no word.
        tokenizer: That made them.

    Returns:
        A list of str, and of each word the list of the places of its tokens.
    """
    there = [place for place, token in enumerate(tokens) if token]
    tokens = [tokens[place] for place in there]
    if getattr(tokenizer, "separator", " "):
        return [token.decode("utf-8", "replace") for token in tokens], [[i] for i in there]
    # Pieces may end within a character: bytes that are no text keep their place as surrogates.
    text = b"".join(tokens).decode("utf-8", "surrogateescape")
    place = np.repeat(there, [len(token) for token in tokens])
    words, places = [], []
    for match in _WORD.finditer(text):
        first = len(text[: match.start()].encode("utf-8", "surrogateescape"))
        word = match[0].encode("utf-8", "surrogateescape")
        words.append(word.decode("utf-8", "replace"))
        places.append(np.unique(place[first : first + len(word)]))
    return words, places
