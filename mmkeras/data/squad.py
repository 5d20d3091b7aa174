"""Reader: SQuAD, questions whose answers stand in a text, as records."""

from mmkeras.data.files import columns, filled, first, json_lists, values
from mmkeras.data.problems import Problems


def read_squad(path, on_error="raise"):
    """Reads one split of SQuAD 1.1 or 2.0 (Rajpurkar et al. 2016, 2018), or a file of its form.

    Args:
        path: of the JSON file, which may be packed by gzip.
        on_error: `"raise"` stops at the first question that is wrong; `"skip"` leaves such
            questions out, and warns at the end with how many they were and which came first.

    Returns:
        Records with the columns `question`, `context` (exactly as it stands in the file), `answer`
        (a list of strings, empty where the context does not tell), `answer_start` (a list of where
        each begins in the context, in characters), `question_id` and `title` (`None` where there
        is none), in the order of the file.

    Raises:
        ValueError: naming the file and the id of the question that is malformed, doubled or empty,
            or of which an answer does not stand in the context where it should.

    Example:

    ```python
    records = mm.read_squad("dev-v2.0.json")
    ```
    """
    problems, rows = Problems(on_error), {}
    for place, title, context, entry in _entries(path, problems):
        with problems.at(place):
            key, question = values(entry, id=str, question=str)
            if key in rows:
                raise ValueError("comes twice")
            answers = _answers(entry, context)
            rows[key] = {
                "question": filled(question, "question"),
                "context": context,
                "answer": [text for text, _ in answers],
                "answer_start": [start for _, start in answers],
                "question_id": key,
                "title": title,
            }
    problems.warn(path)
    return columns(list(rows.values()), path, "question")


def _entries(path, problems):
    """Each question with its context and title, and how to name it in an error."""
    (articles,) = json_lists(path, "data")
    for number, article in enumerate(articles):
        paragraphs, place = [], f"{path}, data[{number}]"
        with problems.at(place):
            (paragraphs,) = values(article, paragraphs=list)
        for index, paragraph in enumerate(paragraphs):
            entries, here = [], f"{place}.paragraphs[{index}]"
            with problems.at(here):
                context, entries = values(paragraph, context=str, qas=list)
            for entry in entries:
                named = isinstance(entry, dict) and "id" in entry
                where = f"{path}, question id {entry['id']!r}" if named else f"{here}.qas"
                yield where, article.get("title"), context, entry


def _answers(entry, context):
    """What is said to a question and where that begins, checked against the context."""
    (answers,) = values(entry, answers=list)
    said = [values(each, text=str, answer_start=int) for each in answers]
    for text, start in said:
        there = context[max(start, 0) : max(start, 0) + len(text)]
        if start < 0 or not text or there != text:
            raise ValueError(
                f"the answer {text!r:.80} should stand in the context at {start}. "
                f"Received: {there!r:.80} there"
            )
    if entry.get("is_impossible", not said) != (not said):
        raise ValueError(
            f"`is_impossible` should be {str(not said).lower()}, with {len(said)} answers. "
            f"Received: {entry['is_impossible']!r:.80}"
        )
    return said


def _squad(path, version="1.1", on_error="raise"):
    def split(name):
        found = first(path, f"{name}-v{version}.json*")
        return found and read_squad(found, on_error)

    return split("train"), split("dev"), split("test")


LAYOUTS = {"squad": _squad}
