"""One function per named task; each picks parts and assembles them."""

from mmkeras.builders.answering import multimodal_question_answering, visual_question_answering
from mmkeras.builders.captioning import image_captioning
from mmkeras.builders.classification import image_classification, text_classification
from mmkeras.builders.language import language_model
from mmkeras.builders.reading import question_answering
from mmkeras.builders.retrieval import image_text_retrieval
from mmkeras.builders.speech import speech_to_text

__all__ = [
    "image_captioning",
    "image_classification",
    "image_text_retrieval",
    "language_model",
    "multimodal_question_answering",
    "question_answering",
    "speech_to_text",
    "text_classification",
    "visual_question_answering",
]
