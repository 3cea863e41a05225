"""Plans as one page for a browser: graph, clock, memory and source, linked to each other."""

from netc.export.page.data import PlanCase
from netc.export.page.html import diff_html, page_html

__all__ = ["PlanCase", "diff_html", "page_html"]
