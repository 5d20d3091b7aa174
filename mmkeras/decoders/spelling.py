"""How words and phrases are spelled in the tokens that a head writes."""

import numpy as np

INSIDE, SEPARATOR, BEGINS = 0, 1, 2


def trie(words, tokenizer, first=1):
    """The spellings of words in tokens, as one tree whose places are numbered from its root, 0.

    Args:
        words: list of str.
        tokenizer: what spells them.
        first: the number of the first word; 0 is no word.

    Returns:
        A dict of arrays: `edges`, sorted, in which edge `i`, a place times the vocabulary's size
        plus a token, leads to place `i + 1`, and the last is no edge; `word_at`, the number of the
        word that each place ends, with one more for what is no place; and `kinds` of tokens.
    """
    size, kinds = tokenizer.vocabulary_size, token_kinds(tokenizer)
    # A token may begin with the space before its word; at the beginning of a text there is none.
    spelled = tokenizer.encode([*words, *(f" {word}" for word in words)])
    tokens = spelled.to_tensor(-1).numpy()
    number = np.tile(np.arange(first, first + len(words), dtype="int32"), 2)
    within = spelled.row_lengths().numpy() > 0
    within &= kinds[tokens[:, 0] if tokens.shape[1] else []] != SEPARATOR
    tokens, number = tokens[within], number[within]
    edges, ends, place = [], {}, np.zeros(len(tokens), "int64")
    count = 1
    for depth in range(tokens.shape[1]):
        here = tokens[:, depth] >= 0
        for at, word in zip(place[~here], number[~here], strict=True):
            ends[int(at)] = word
        tokens, number, place = tokens[here], number[here], place[here]
        found, place = np.unique(place * size + tokens[:, depth], return_inverse=True)
        edges.append(found)
        place = place + count
        count += len(found)
    ends.update(zip(place.tolist(), number, strict=True))
    word_at = np.zeros(count + 1, "int32")
    word_at[list(ends)] = list(ends.values())
    # Greater than any key, so that each search ends before it.
    last = np.array([np.iinfo("int64").max])
    return {"edges": np.concatenate([*edges, last]), "word_at": word_at, "kinds": kinds}


def token_kinds(tokenizer):
    """Whether each token is inside a word, separates words, or begins one."""
    ids = np.arange(tokenizer.vocabulary_size)[:, None]
    spelled = [piece.decode("utf-8", "replace") for piece in tokenizer.decode(ids).numpy()]
    if tokenizer.separator:
        return np.array([BEGINS if piece else INSIDE for piece in spelled], "int32")
    return np.array(
        [(SEPARATOR if s.isspace() else BEGINS) if s[:1].isspace() else INSIDE for s in spelled],
        "int32",
    )


def token_names(tokenizer):
    """Tokens as words of an ARPA file, in which white space has a meaning."""
    return ["".join(map(_visible, piece)) for piece in tokenizer.vocabulary]


def _visible(character):
    if character == " ":
        return "\u2581"
    return character if character.isprintable() else f"<0x{ord(character):02X}>"


def hot_word_ids(phrases, tokenizer):
    """Phrases as `CTC.search` takes them: a tuple of tuples of token ids.

    Spelled in characters a phrase has a space around it, so that it is found as whole words only.

    Args:
        phrases: Strings.
        tokenizer: Of the model.
    """
    kinds = token_kinds(tokenizer)
    if SEPARATOR in kinds and BEGINS not in kinds:
        spelled = [f" {phrase} " for phrase in phrases]
    else:
        # A piece may begin with the space before its word; at the beginning of a text none does.
        spelled = [*phrases, *(f" {phrase}" for phrase in phrases)]
    return tuple(dict.fromkeys(map(tuple, tokenizer.encode(spelled).to_list())))
