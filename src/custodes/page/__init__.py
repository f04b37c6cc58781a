"""One kit for HTML reports: a report is a list of sections, each whole in itself."""

from custodes.page.numbers import FORMS, NOT_RECORDED, duration, number, percent, plain_json, plain_name, signed
from custodes.page.report import Report, save_report
from custodes.page.section import Section, Tile

__all__ = [
    "FORMS",
    "NOT_RECORDED",
    "Report",
    "Section",
    "Tile",
    "duration",
    "number",
    "percent",
    "plain_json",
    "plain_name",
    "save_report",
    "signed",
]
