"""What can be said of the page's files without a browser: everything they load is there, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import search_api

UI = Path(search_api.__file__).parent / "ui"
SCRIPTS = sorted(UI.rglob("*.js"))
SHEETS = sorted(UI.rglob("*.css"))
TEXTS = [*SCRIPTS, *SHEETS, *UI.rglob("*.svg"), UI / "index.html"]
MODULE_LINES_MAX = 300

IMPORT = re.compile(r"^(?:import|export)\b(?P<what>[^;'\"]*?)\bfrom\s+[\"'](?P<where>[^\"']+)[\"']", re.MULTILINE)
DYNAMIC = re.compile(r"\bimport\(\s*[\"'](?P<where>[^\"']+)[\"']\s*\)")
ROUTE_MODULE = re.compile(r"module:\s*\"(?P<where>[^\"]+)\",\s*css:\s*\"(?P<css>[^\"]+)\"")
EXPORT = re.compile(r"^export\s+(?:async\s+)?(?:const|let|function\*?|class)\s+(\w+)", re.MULTILINE)
COMMENT = re.compile(r"/\*[\s\S]*?\*/|^\s*//[^\n]*$", re.MULTILINE)

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=[str(p.relative_to(UI)) for p in SCRIPTS])
each_text = pytest.mark.parametrize("path", TEXTS, ids=[str(p.relative_to(UI)) for p in TEXTS])


def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(path: Path) -> str:
    """Return a script without its comments."""
    return COMMENT.sub("", source(path))


def names_of(what: str) -> list[str]:
    """Return the names that an import or a re-export takes from a module."""
    inside = re.search(r"\{(.*)\}", what, re.DOTALL)
    parts = inside.group(1).split(",") if inside else []
    return [part.split(" as ")[0].strip() for part in parts if part.strip()]


def exported(path: Path) -> set[str]:
    """Return the names that a module exports, its re-exports among them."""
    own = set(EXPORT.findall(code(path)))
    for found in IMPORT.finditer(code(path)):
        if found.group(0).startswith("export"):
            own |= set(names_of(found.group("what")))
    return own


def used_files(path: Path) -> list[tuple[Path, list[str]]]:
    """Return the modules that a script loads, with the names that it takes."""
    text = code(path)
    named = [(m.group("where"), names_of(m.group("what"))) for m in IMPORT.finditer(text)]
    later = [(m.group("where"), []) for m in DYNAMIC.finditer(text)]
    routed = [(m.group("where"), ["mount"]) for m in ROUTE_MODULE.finditer(text)]
    return [((path.parent / where).resolve(), names) for where, names in [*named, *later, *routed]]


class Markup(HTMLParser):
    """The elements of a document with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def index() -> list[tuple[str, dict[str, str | None]]]:
    parser = Markup()
    parser.feed(source(UI / "index.html"))
    return parser.elements


def test_there_is_something_to_look_at():
    assert len(SCRIPTS) > 30
    assert len(SHEETS) >= 4
    assert any(used_files(path) for path in SCRIPTS)


@each_script
def test_every_import_is_a_file_that_exports_it(path):
    for target, names in used_files(path):
        assert target.is_file(), f"{path.name} loads {target.relative_to(UI.resolve())}, which is not there"
        assert UI.resolve() in target.parents
        missing = set(names) - exported(target)
        assert not missing, f"{path.name} takes {sorted(missing)} from {target.name}, which does not export it"


@each_script
def test_every_name_that_is_imported_is_used(path):
    text = code(path)
    for found in IMPORT.finditer(text):
        if found.group(0).startswith("export"):
            continue
        inside = re.search(r"\{(.*)\}", found.group("what"), re.DOTALL)
        for part in inside.group(1).split(",") if inside else []:
            name = part.split(" as ")[-1].strip()
            if name:
                assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path.name} imports {name} and never uses it"


def test_every_module_is_loaded_by_another_or_by_the_document(index):
    start = [UI / str(a["src"]).removeprefix("/ui/") for tag, a in index if tag == "script"]
    seen: set[Path] = set()
    waiting = [path.resolve() for path in start]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(target for target, _ in used_files(path))
    assert {p.resolve() for p in SCRIPTS} - seen == set()


@each_script
def test_modules_are_short_and_say_what_they_are_for(path):
    lines = source(path).splitlines()
    assert len(lines) <= MODULE_LINES_MAX
    assert lines[0].startswith(("/**", "//"))


@each_script
def test_no_markup_is_made_of_text_and_no_code_of_text(path):
    """Data becomes text nodes; a `style` attribute would be refused by the content policy."""
    text = code(path)
    for word in (r"innerHTML", r"outerHTML", r"insertAdjacentHTML", r"document\.write", r"\beval\(", r"new Function\b"):
        assert not re.search(word, text), word
    assert not re.search(r"setAttribute\(\s*[\"'](?:style|on\w+)[\"']", text)
    assert not re.search(r"\bsetTimeout\(\s*[\"'`]", text)


@each_text
def test_nothing_comes_from_another_host(path):
    text = source(path).replace("http://www.w3.org/", "")
    assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]{2,}", code(path) if path.suffix == ".js" else text)
    if path.suffix != ".js":
        for name in re.findall(r"url\(\s*[\"']?([^\"')]+)", text):
            assert (path.parent / name).is_file(), f"{path.name} loads {name}, which is not there"


def test_the_document_has_no_inline_script_style_or_handler(index):
    for tag, attributes in index:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
    assert not re.search(r"<script[^>]*>[^<\s]", source(UI / "index.html"))


def test_what_the_document_names_is_there(index):
    ids = [str(a["id"]) for _, a in index if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in index:
        address = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if address:
            assert (UI / address.removeprefix("/ui/")).is_file(), address
        for name, value in attributes.items():
            if name.startswith("aria-") and name.endswith(("by", "controls", "owns")):
                assert set(str(value).split()) <= set(ids)
        if tag == "a" and str(attributes.get("href")).startswith("#"):
            assert str(attributes["href"])[1:] in ids


def test_elements_that_scripts_look_up_are_in_the_document(index):
    ids = {a["id"] for _, a in index if "id" in a}
    wanted = {name for path in SCRIPTS for name in re.findall(r"getElementById\(\s*\"([\w-]+)\"", code(path))}
    assert wanted
    assert wanted <= ids


def test_each_place_has_its_style_sheet():
    sheets = {m.group("css") for m in ROUTE_MODULE.finditer(code(UI / "js/core/router.js"))}
    assert sheets
    assert {name for name in sheets if not (UI / f"css/{name}.css").is_file()} == set()


def test_colours_are_named_and_both_themes_have_the_same():
    tokens = source(UI / "css/tokens.css")
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", tokens)
    named = {selector.strip(): dict(re.findall(r"(--[\w-]+):\s*([^;]+);", body)) for selector, body in blocks}
    light, dark, auto = named[":root"], named[':root[data-theme="dark"]'], named[':root[data-theme="auto"]']
    assert dark == auto
    assert set(dark) <= set(light)
    used = {name for path in SHEETS for name in re.findall(r"var\((--[\w-]+)\)", source(path))}
    elsewhere = {name for path in SHEETS for name in re.findall(r"(--[\w-]+):", source(path))}
    set_by_scripts = {name for path in SCRIPTS for name in re.findall(r"\"(--[\w-]+)\"", source(path))}
    assert used - elsewhere - set_by_scripts == set()


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":root", ':root[data-theme="dark"]'])
@pytest.mark.parametrize(
    ("ink", "grounds"),
    [
        ("--ink", ("--bg", "--surface", "--sunken", "--raised", "--accent-soft")),
        ("--ink-2", ("--bg", "--surface", "--sunken")),
        ("--muted", ("--bg", "--surface", "--sunken")),
        ("--accent", ("--bg", "--surface")),
        ("--accent-ink", ("--accent",)),
        ("--accent-strong", ("--accent-soft",)),
        ("--good", ("--good-soft", "--surface")),
        ("--bad", ("--bad-soft", "--surface")),
        ("--unsure", ("--unsure-soft", "--surface")),
    ],
)
def test_text_can_be_read_on_its_ground(selector, ink, grounds):
    """WCAG AA for text: 4.5 to 1."""
    tokens = source(UI / "css/tokens.css")
    values = dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{6});", tokens.split("{", 1)[1].split("}", 1)[0]))
    if selector != ":root":
        own = tokens.split(selector)[1].split("{", 1)[1].split("}", 1)[0]
        values |= dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{6});", own))
    for ground in grounds:
        assert contrast(values[ink], values[ground]) >= 4.5, f"{ink} on {ground}"


def bindings() -> list[tuple[str, str]]:
    """Return every key binding of the scripts, as its source, with the file's name."""
    return [
        (path.name, found)
        for path in SCRIPTS
        for found in re.findall(r"\{\s*keys:\s*\[[^\]]*\][^{}]*(?:\{[^{}]*\}[^{}]*)*\}", code(path))
        if path.name != "keys.js"
    ]


def test_every_key_has_words_for_the_sheet():
    assert len(bindings()) > 15
    for name, binding in bindings():
        assert re.search(r"\blabel:", binding), f"{name}: {binding}"
        assert re.search(r"\brun\b", binding), f"{name}: {binding}"


def test_the_keys_of_the_search_are_those_of_the_field():
    """Y, N, U to judge; arrows and hjkl to move; Space; undo; ? for the sheet (conventions of other programs)."""
    text = code(UI / "js/views/search/bindings.js") + code(UI / "js/core/shell.js")
    found = {key for group in re.findall(r"keys:\s*\[([^\]]*)\]", text) for key in re.findall(r"\"([^\"]+)\"", group)}
    wanted = {*"ynuhjklzmx/?", "Space", "Enter", "Ctrl+z", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"}
    assert wanted <= found
    in_search = re.findall(
        r"\"([^\"]+)\"", " ".join(re.findall(r"keys:\s*\[([^\]]*)\]", code(UI / "js/views/search/bindings.js")))
    )
    assert len(in_search) == len(set(in_search)), "one key, two meanings"


def test_the_readme_is_short_and_names_what_is_there():
    text = source(UI / "README.md")
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 120
    for name in re.findall(r"`((?:core|components)/\w+)`", text):
        assert (UI / f"js/{name}.js").is_file(), name
