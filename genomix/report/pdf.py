"""The report as PDF, by WeasyPrint: the page's own print style, so that nothing is said twice.

The same page gives the same bytes. The page is self-contained; whatever else it would ask for is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from genomix.errors import MissingDependencyError


def to_pdf(html: str) -> bytes:
    """Return the pages of a report.

    Parameters
    ----------
    html: a self-contained page, as :func:`genomix.report.document.render_report` makes it.

    Raises
    ------
    MissingDependencyError: WeasyPrint, or a library of the system that it needs, is not there.
    """
    weasyprint = import_weasyprint()
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols={"data"})
    with _fixed_date():
        document = weasyprint.HTML(string=html, url_fetcher=fetcher)
        found: bytes = document.write_pdf(pdf_identifier=hashlib.sha256(html.encode()).digest()[:16])
    return found


def import_weasyprint() -> Any:
    """Import WeasyPrint with its module of addresses.

    Raises
    ------
    MissingDependencyError: when it, or Pango, is not installed.
    """
    try:
        import weasyprint
        import weasyprint.urls
    except ImportError as error:
        raise MissingDependencyError("a PDF needs WeasyPrint", hint='pip install "genomix[pdf]"') from error
    except OSError as error:  # it loads Pango when it is imported
        raise MissingDependencyError(
            "WeasyPrint does not find Pango", hint="Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0"
        ) from error
    return weasyprint


@contextmanager
def _fixed_date() -> Iterator[None]:
    """Fonts that are embedded carry a date: let it be the same in every run."""
    kept = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    try:
        yield
    finally:
        if kept is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = kept
