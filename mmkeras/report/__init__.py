"""What a run came to, as one HTML page that needs nothing else."""

from mmkeras.report.answers import write_answer_report
from mmkeras.report.captions import write_report
from mmkeras.report.speech import write_speech_report

__all__ = ["write_answer_report", "write_report", "write_speech_report"]
