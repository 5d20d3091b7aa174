"""Readers: the standard layouts of questions on images, as records, one for each question."""

import json
import pathlib
import re

from mmkeras.data.files import (
    Images,
    columns,
    decoded,
    filled,
    first,
    json_lists,
    lines,
    read_json,
    values,
)
from mmkeras.data.problems import Problems


def read_easy_vqa(questions, images, on_error="raise"):
    """Reads one split of easy-VQA, questions on one coloured shape (Zhou 2019).

    Args:
        questions: path of the JSON file, a list of `[question, answer, image id]`.
        images: folder or zip with the images, or a list of these, named as `12.png`.
        on_error: `"raise"` or `"skip"`, see `read_vqa`.

    Returns:
        Records with the columns `image`, `question` and `answer`, in the order of the file. There
        are several on each image: `hold_out(records, 0.1, by="image")` keeps these together.

    Raises:
        ValueError: naming the file and the entry that is malformed or empty, or whose image is
            missing.

    Example:

    ```python
    records = mm.read_easy_vqa("train/questions.json", "train/images")
    ```
    """
    problems, found, rows = Problems(on_error), Images(images), []
    entries = read_json(questions)
    if not isinstance(entries, list):
        raise ValueError(f"{questions}: should be a list of [question, answer, image id]")
    for index, entry in enumerate(entries):
        with problems.at(f"{questions}, [{index}]"):
            match entry:
                case [str(question), str(answer), int(image)]:
                    row = _row(found.path(f"{image}.png"), question, answer)
                case _:
                    raise ValueError(
                        f"should be [question, answer, image id]. Received: {entry!r:.80}"
                    )
            rows.append(row)
    problems.warn(questions)
    return columns(rows, questions, "question")


def read_daquar(pairs, images, on_error="raise"):
    """Reads one split of DAQUAR (Malinowski and Fritz 2014).

    Args:
        pairs: path of the text, a line with a question, `what is on the desk in the image3 ?`, and
            one with its answer, `book, papers`, by turns.
        images: folder or zip with the images, or a list of these, named as `image3.png` or `.jpg`.
        on_error: `"raise"` or `"skip"`, see `read_vqa`.

    Returns:
        Records with the columns `image`, `question` and `answer`, in the order of the file. The
        name of the image is left out of the question: `what is on the desk ?`.

    Raises:
        ValueError: naming the file and line that is malformed or empty, that has no question or no
            answer beside it, or whose image is missing.

    Example:

    ```python
    records = mm.read_daquar("qa.894.raw.train.txt", "nyu_depth_images")
    ```
    """
    problems, found, rows = Problems(on_error), Images(images), []
    texts = {line: text.strip() for line, text in decoded(pairs, problems)}
    for line, text in texts.items():
        with problems.at(f"{pairs}, line {line}"):
            asked, answer = _NAME.findall(text), texts.get(line + 1, "")
            if asked:
                image = found.path(f"{asked[-1]}.png", f"{asked[-1]}.jpg")
                if not answer or _NAME.search(answer):
                    raise ValueError("the next line should be its answer")
                question = _IN_IMAGE.sub("", text)
                filled(question.strip(" ?"), "question")
                rows.append(_row(image, question, answer))
            elif text and not _NAME.search(texts.get(line - 1, "")):
                raise ValueError(
                    "should be a question such as `what is on the desk in the image3 ?`, or the "
                    f"answer to the line before. Received: {text!r:.80}"
                )
    problems.warn(pairs)
    return columns(rows, pairs, "question")


_NAME = re.compile(r"\bimage\d+\b")
_IN_IMAGE = re.compile(r"(\s*\b(in|of|on))?(\s*\b(the|this))?\s*\bimage\d+\b")


def read_nlvr(sentences, images, on_error="raise"):
    """Reads one split of NLVR (Suhr et al. 2017): is a sentence true of a picture of three boxes?

    Args:
        sentences: path of the file, a JSON object per line.
        images: folder or zip with the images, or a list of these, named as `dev-12-3-0.png`, where
            the file is `dev.json`; the last number is one of six orders of the boxes.
        on_error: `"raise"` or `"skip"`, see `read_vqa`.

    Returns:
        Records with the columns `image`, `question` (the sentence), `answer` (`"true"` or
        `"false"`) and `group`, in the order of the file, one for each image of a sentence that is
        there. Images with the same number before the first dash, the group, were seen together:
        hold these out together, `hold_out(records, 0.1, by="group")`.

    Raises:
        ValueError: naming the file and line that is malformed, doubled or empty, or of which there
            is no image.

    Example:

    ```python
    records = mm.read_nlvr("dev/dev.json", "dev/images")
    ```
    """
    problems, found, rows, seen = Problems(on_error), Images(images), [], set()
    for line, text in lines(sentences, problems):
        with problems.at(f"{sentences}, line {line}"):
            key, sentence, answer = values(
                json.loads(text), identifier=str, sentence=str, label=str
            )
            if answer not in ("true", "false"):
                raise ValueError(f'`label` should be "true" or "false". Received: {answer!r:.80}')
            if key in seen:
                raise ValueError(f"{key!r} comes twice")
            seen.add(key)
            names = [f"{pathlib.Path(sentences).stem}-{key}-{order}.png" for order in range(6)]
            paths = [found.path(name) for name in names if name in found] or [found.path(names[0])]
            group = key.partition("-")[0]
            rows += [{**_row(path, sentence, answer), "group": group} for path in paths]
    problems.warn(sentences)
    return columns(rows, sentences, "sentence")


def read_clevr(questions, images, on_error="raise"):
    """Reads one split of CLEVR (Johnson et al. 2017), or of a data set set out like it.

    Args:
        questions: path of the JSON file with the list `questions`; it may be packed by gzip.
        images: folder or zip with the images, or a list of these.
        on_error: `"raise"` or `"skip"`, see `read_vqa`.

    Returns:
        Records with the columns `image`, `question` and, unless no question has them (as in the
        test split), `answer` and `question_type`, which is the last function of the program that
        answers it (`"count"`, `"query_color"`, ...), in the order of the file.

    Raises:
        ValueError: naming the file and the entry that is malformed or empty, or whose image is
            missing.

    Example:

    ```python
    records = mm.read_clevr("questions/CLEVR_val_questions.json", "images/val")
    ```
    """
    problems, found, rows = Problems(on_error), Images(images), []
    (entries,) = json_lists(questions, "questions")
    answered = any(isinstance(each, dict) and "answer" in each for each in entries)
    for index, entry in enumerate(entries):
        with problems.at(f"{questions}, questions[{index}]"):
            name, question = values(entry, image_filename=str, question=str)
            row = {"image": found.path(name), "question": filled(question, "question")}
            if answered:
                answer, program = values(entry, answer=str, program=list)
                row["answer"] = filled(answer, "answer")
                (row["question_type"],) = values(program[-1] if program else None, function=str)
            rows.append(row)
    problems.warn(questions)
    return columns(rows, questions, "question")


def _row(image, question, answer):
    return {
        "image": image,
        "question": filled(question, "question"),
        "answer": filled(answer, "answer"),
    }


def _easy_vqa(path, images=None, on_error="raise"):
    def split(name):
        questions = first(path, f"{name}/questions.json", f"questions_{name}.json")
        beside = first(path, f"{name}/images", f"images_{name}", f"images_{name}.zip")
        return questions and read_easy_vqa(questions, images or beside or [], on_error)

    return split("train"), None, split("test")


def _daquar(path, classes=894, images=None, on_error="raise"):
    def split(name):
        pairs = first(path, f"qa.{classes}.raw.{name}.txt")
        folders = "nyu_depth_images", "nyu_depth_images.zip", f"images_{name}*", "images"
        beside = first(path, *folders)
        return pairs and read_daquar(pairs, images or beside or [], on_error)

    return split("train"), None, split("test")


def _nlvr(path, train="train", valid="dev", test="test", images=None, on_error="raise"):
    def split(name):
        sentences = first(path, f"{name}/{name}.json", f"{name}.json")
        beside = first(path, f"{name}/images", f"images_{name}", f"images_{name}.zip", "images")
        return sentences and read_nlvr(sentences, images or beside or [], on_error)

    return split(train), split(valid), split(test)


def _clevr(path, images=None, on_error="raise"):
    def split(name):
        file = f"CLEVR_{name}_questions.json*"
        questions = first(path, f"questions/{file}", file)
        beside = first(path, f"images/{name}", f"images/{name}.zip", "images")
        return questions and read_clevr(questions, images or beside or [], on_error)

    return split("train"), split("val"), split("test")


LAYOUTS = {"easy_vqa": _easy_vqa, "daquar": _daquar, "nlvr": _nlvr, "clevr": _clevr}
