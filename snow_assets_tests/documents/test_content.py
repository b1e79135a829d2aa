"""HTML of any making is read, and what it says is kept."""

from __future__ import annotations

import pytest

from snow_assets.documents.content import html_to_text, tidy

WIDE = 200_000


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><script>if (1 < 2) stop()</script><p>b &amp; &lt;c&gt;</p>", "a\n\nb & <c>"),
        ("<p>a <![if !supportLists]>1.<![endif]> b</p>", "a 1. b"),
        ("<p>before</p><![\n after", "before <![\n after"),
        ("a <![foo b> c", "a   c"),
        ("<?xml version='1.0'?><p>x</p>", "x"),
        ("https://example.com/?a=1&amp;b=2", "https://example.com/?a=1&b=2"),
        ("one\ntwo &amp; three", "one\ntwo & three"),
        ("<table><tr><td colspan='²'>x</td></tr></table>", "x"),
    ],
)
def test_markup_that_is_no_html_keeps_its_words_and_warns_of_nothing(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize("tag", ["div", "blockquote", "table><tr><td", "ul><li"])
def test_deeply_nested_html_is_read(tag: str) -> None:
    assert html_to_text(f"<{tag}>first " * 1_500 + "deepest").endswith("deepest")


def test_blanks_within_a_line_take_no_time_and_stay() -> None:
    """Looked for by a pattern at each of them, these would take minutes."""
    assert tidy("a" + " " * WIDE + "b \n \n\n\t\nc\r\n") == "a" + " " * WIDE + "b\n\nc"
