"""What a record says, as text: labelled lines, texts below them, journals last. Or what a template makes of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from html import unescape
from typing import Any, Final

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from snow_assets.documents.cells import Cell, Record, cell_of
from snow_assets.documents.recipes import Recipe, in_sensible_order, is_plain, label_of
from snow_assets.errors import ConfigError
from snow_assets.extras import need

_MARKUP: Final = re.compile(r"<[a-zA-Z!/]|&\w+;|&#")
_BLANKS: Final = re.compile(r"\n{3,}")
_TAG: Final = re.compile(r"<[^<>]*>")
_SECTION: Final = re.compile(r"<!\[(?!CDATA\[)[^\]<>]*\]>|<\?xml[^>]*>")  # Word's conditions; a prolog
_DEEPEST: Final = 100  # levels; what is nested deeper is read without its structure
_NOT_READ: Final = ("script", "style", "head", "template", "noscript", "iframe", "object")
JOURNAL_HEADING: Final = "Journal"
_GIVEN: Final = {"label", "value", "journals", "more", "sys_id"}  # names of a template that are no fields


def html_to_text(html: str) -> str:
    """HTML as readable text: headings, lists, tables and links stay (as Markdown), scripts, styles and images go.

    Text without markup is returned as it is. Raises ``ConfigError`` where markdownify is not installed.
    """
    if not _MARKUP.search(html):
        return html.strip()
    if "<" not in html:
        return tidy(unescape(html).replace("\xa0", " "))
    bs4 = need("bs4", "documents")
    try:
        soup = bs4.BeautifulSoup(_SECTION.sub("", html), "html.parser")
    except bs4.ParserRejectedMarkup:  # it is no HTML; its words are kept
        return tidy(unescape(_TAG.sub(" ", html)).replace("\xa0", " "))
    for tag in soup(_NOT_READ):
        tag.decompose()
    for image in soup("img"):
        image.replace_with(image.get("alt") or "")
    return tidy(_read(soup).replace("\xa0", " "))


def tidy(text: str) -> str:
    """Without blanks at the ends of lines, and with one blank line at most."""
    lines = (line.rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    return _BLANKS.sub("\n\n", "\n".join(lines)).strip()


def _read(soup: Any) -> str:
    """As Markdown; where that would take more stack than there is, or a tag makes no sense, the words alone."""
    if not _is_deep(soup):
        with suppress(ValueError):
            return str(_converter().convert_soup(soup))
    return str(soup.get_text("\n"))


def _is_deep(soup: Any) -> bool:
    levels = {id(soup): 0}
    for tag in soup.find_all(True):
        levels[id(tag)] = level = levels[id(tag.parent)] + 1
        if level > _DEEPEST:
            return True
    return False


@cache
def _converter() -> Any:
    markdownify = need("markdownify", "documents")
    return markdownify.MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        table_infer_header=True,
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )


class Content:
    """Makes the text of records of one table.

    Raises ``ConfigError`` for a template that cannot be read, and where a recipe needs a library that is not there.
    """

    def __init__(self, recipe: Recipe, template: str | None = None) -> None:
        self._recipe = recipe
        self._given = template is not None
        source = recipe.template if template is None else template
        self._template: jinja2.Template | None = None
        self._names: tuple[str, ...] = ()
        if source != "":
            self._template, self._names = _compiled(source)
        if recipe.html:
            _converter()

    @property
    def named(self) -> tuple[str, ...]:
        """The fields that a template which was given names."""
        return self._names if self._given else ()

    def of(self, record: Record, journals: Sequence[str] = (), below: Sequence[str] = ()) -> str:
        """The text. ``journals`` are lines, oldest first; ``below`` are blocks that come before them."""
        if self._template is not None and self._given:
            return tidy(self._filled(record, journals, below))
        head = self._filled(record, (), ()) if self._template is not None else "\n".join(self._lines(record))
        blocks = [head, *(self._texts(record) if self._template is None else ()), *below]
        if journals:
            blocks.append("\n\n".join((f"{JOURNAL_HEADING}:", *journals)))
        return tidy("\n\n".join(block for block in blocks if block))

    def _lines(self, record: Record) -> Iterator[str]:
        title = [text for name in self._recipe.title if (text := self._text(record, name))]
        yield f"{self._recipe.kind} {': '.join(title)}".strip() if title else self._recipe.kind
        for label, field in self._recipe.lines or self._generic_lines(record):
            text = self._text(record, field)
            if text:
                yield f"{label}:\n{text}\n" if "\n" in text else f"{label}: {text}"

    def _texts(self, record: Record) -> Iterator[str]:
        told: set[tuple[str, str]] = set()  # two fields may hold one text, as those of an article do
        for label, field in self._recipe.texts:
            text = self._text(record, field)
            if text and (label, text) not in told:
                told.add((label, text))
                yield f"{label}:\n{text}"

    def _generic_lines(self, record: Record) -> Iterator[tuple[str, str]]:
        """Fields that read as text, of a table that nobody described."""
        fields = [field for field in record if not field.startswith("sys_") and field not in self._recipe.title]
        for field in in_sensible_order(fields):
            if is_plain(field) or _reads_as_text(cell_of(record, field)):
                yield label_of(field), field

    def _text(self, record: Record, field: str) -> str:
        cell = cell_of(record, field)
        if not cell.is_written_down:
            return ""
        if field in self._recipe.html:
            return html_to_text(cell.text)
        if field in self._recipe.numbers:
            return cell.value
        return (cell.plain if self._recipe.is_plain(field) else cell.text).strip()

    def _filled(self, record: Record, journals: Sequence[str], below: Sequence[str]) -> str:
        assert self._template is not None  # noqa: S101
        fields = (*self._names, *record)
        labels = {field: self._text(record, field) for field in fields}
        cells = {field: cell_of(record, field) for field in fields}
        values = {field: cell.label if cell.is_secret else cell.value for field, cell in cells.items()}
        sys_id = values.get("sys_id", "")
        names = {"label": labels, "value": values, "journals": "\n\n".join(journals), "more": "\n\n".join(below)}
        try:
            return self._template.render({**labels, **names, "sys_id": sys_id})
        except Exception as error:  # whatever it does
            place = f"{self._recipe.table} {sys_id}"
            raise ConfigError(f"line {_line_of(error)} fails on {place}: {error}", key="content_template") from error


def _compiled(source: str) -> tuple[jinja2.Template, tuple[str, ...]]:
    """The template, and the fields that it names."""
    if not isinstance(source, str):
        raise ConfigError("is no text", key="content_template", value=source, hint="it is a Jinja2 template")
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=False)
    try:
        return environment.from_string(source), tuple(_fields_in(environment.parse(source), environment))
    except jinja2.TemplateSyntaxError as error:
        lines = source.splitlines()
        value = lines[error.lineno - 1].strip() if 0 < error.lineno <= len(lines) else ""
        message = f"line {error.lineno}: {error.message}"
        raise ConfigError(message, key="content_template", value=value, hint="it is a Jinja2 template") from error


def _fields_in(tree: nodes.Template, environment: jinja2.Environment) -> Iterator[str]:
    """Fields by their own names, and those after ``label`` and ``value``."""
    yield from sorted(meta.find_undeclared_variables(tree) - environment.globals.keys() - _GIVEN)
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        of, name = next(node.iter_fields(only=("node",)))[1], _name_in(node)
        if isinstance(of, nodes.Name) and of.name in ("label", "value") and name and not hasattr(dict, name):
            yield name


def _name_in(node: nodes.Node) -> str:
    """What is looked up, where that is written down."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    key = node.arg if isinstance(node, nodes.Getitem) else None
    return key.value if isinstance(key, nodes.Const) and isinstance(key.value, str) else ""


def _line_of(error: Exception) -> int:
    """The line of a template that failed."""
    lines = [step.lineno or 0 for step in traceback.extract_tb(error.__traceback__) if step.filename == "<template>"]
    return lines[-1] if lines else 1


def _reads_as_text(cell: Cell) -> bool:
    return bool(cell.label) and not (cell.is_flag or cell.is_moment) and not _is_number(cell.label)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(",", "").replace(".", "", 1).isdecimal()
