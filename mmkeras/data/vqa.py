"""Reader: VQA, questions on photographs with the answers of ten people each, as records."""

import sys

from mmkeras.data.files import Images, columns, filled, first, json_lists, values
from mmkeras.data.problems import Problems


def read_vqa(questions, annotations=None, images=None, on_error="raise"):
    """Reads questions on COCO images, as of VQA (Antol et al. 2015) and VQA v2 (Goyal et al. 2017).

    Args:
        questions: path of the JSON file with the list `questions`; it may be packed by gzip.
        annotations: path of the one with the list `annotations`, or `None` where no answers are
            known.
        images: folder or zip with the images, or a list of these, named as
            `COCO_train2014_000000012345.jpg` or `000000012345.jpg`.
        on_error: `"raise"` stops at the first entry that is wrong; `"skip"` leaves such entries
            out, and warns at the end with how many they were and which came first.

    Returns:
        Records with the columns `image` (`None` where no images are given), `question`,
        `question_id` and `image_id`, and with annotations `answer` (a list of what ten people
        said), `question_type` and `answer_type`, in the order of the questions.

    Raises:
        ValueError: naming the file and the entry that is malformed, doubled, empty or unknown, or
            whose image or annotation is missing.

    Example:

    ```python
    records = mm.read_vqa(
        "v2_OpenEnded_mscoco_val2014_questions.json",
        "v2_mscoco_val2014_annotations.json",
        images="val2014.zip",
    )
    ```
    """
    problems = Problems(on_error)
    (entries,) = json_lists(questions, "questions")
    found, asked = Images(images) if images else None, {}
    for index, entry in enumerate(entries):
        with problems.at(f"{questions}, questions[{index}]"):
            key, image, question = values(entry, question_id=int, image_id=int, question=str)
            if key in asked:
                raise ValueError(f"question id {key} comes twice")
            asked[key] = None  # until all of it is good
            asked[key] = {
                "image": found and found.path(*(f"{each}{image:012}.jpg" for each in _COCO)),
                "question": filled(question, "question"),
                "question_id": key,
                "image_id": image,
            }
    if annotations:
        said = _vqa_answers(annotations, asked, problems)
        asked = {key: said[key] and row | said[key] for key, row in asked.items() if row}
    problems.warn(questions)
    return columns([row for row in asked.values() if row], questions, "question")


_COCO = ("COCO_train2014_", "COCO_val2014_", "COCO_test2015_", "")


def _vqa_answers(annotations, asked, problems):
    """What was said to each question, `None` where something is wrong with it."""
    said = {}
    (entries,) = json_lists(annotations, "annotations")
    for index, entry in enumerate(entries):
        with problems.at(f"{annotations}, annotations[{index}]"):
            (key,) = values(entry, question_id=int)
            if key not in asked:
                raise ValueError(f"question id {key} is not among the questions")
            if key in said:
                raise ValueError(f"question id {key} comes twice")
            said[key] = None  # until all of it is good
            said[key] = _vqa_answer(entry)
    for key in asked:
        if key not in said:
            said[key] = None
            problems.add(f"{annotations}: question id {key} has no annotation")
    return said


def _vqa_answer(entry):
    answers, question_type, answer_type = values(
        entry, answers=list, question_type=str, answer_type=str
    )
    if not answers:
        raise ValueError("`answers` is empty")
    # Millions of answers are few different strings.
    answers = [sys.intern(values(each, answer=str)[0]) for each in answers]
    return {"answer": answers, "question_type": question_type, "answer_type": answer_type}


def _vqa(path, images=None, on_error="raise"):
    def split(name, sample):
        asked, said = f"OpenEnded_mscoco_{name}_questions.json*", f"mscoco_{name}_annotations.json*"
        asked = first(path, *_versions(asked), f"vqa_questions_{sample}.*")
        said = first(path, *_versions(said), f"vqa_annotat*ons_{sample}.*")
        beside = first(path, name, f"{name}.zip", f"images/{name}", f"images/{name}.zip", "images")
        return asked and read_vqa(asked, said, images or beside, on_error)

    return split("train2014", "train"), split("val2014", "valid"), split("test2015", "test")


def _versions(file):
    """The second version before the first, in the folder itself or one below it."""
    return [f"{folder}{version}{file}" for version in ("v2_", "") for folder in ("", "*/")]


LAYOUTS = {"vqa": _vqa}
