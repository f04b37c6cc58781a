"""One kit for HTML reports: a report is a list of sections, each whole in itself."""

from custodes.page.numbers import NOT_RECORDED, NUMBER_FORMS, duration, number, percent, plain_name, signed
from custodes.page.report import Report, save_report
from custodes.page.section import Section, Tile

__all__ = [
    "NOT_RECORDED",
    "NUMBER_FORMS",
    "Report",
    "Section",
    "Tile",
    "duration",
    "number",
    "percent",
    "plain_name",
    "save_report",
    "signed",
]
