"""The page's modules and sheets as text: what they import is there, what they must not do is not done, what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

UI = Path(__file__).parents[2] / "search_api" / "ui"
JS, CSS = UI / "js", UI / "css"
MODULES = sorted(JS.rglob("*.js"))
SHEETS = sorted(CSS.glob("*.css"))
PLACES = ("archive", "recording", "probes", "probe", "review", "jobs", "job")
VIEWS = [JS / "views" / f"{name}.js" for name in PLACES]
_OWN = {*PLACES, "parts", "judging"}
OWN_MODULES = [
    p
    for p in MODULES
    if p.is_relative_to(JS / "views") and p.relative_to(JS / "views").parts[0].removesuffix(".js") in _OWN
]
OWN_SHEETS = [CSS / f"{name}.css" for name in ("archive", "recording", "probes", "review", "jobs")]
_IMPORT = re.compile(r'import\s+(?:\{(?P<names>[^}]*)\}|\*\s+as\s+\w+)\s+from\s+"(?P<path>[^"]+)"')
_FROM = re.compile(r'export\s+\{(?P<names>[^}]*)\}(?:\s+from\s+"[^"]+")?')
_EXPORT = re.compile(r"export\s+(?:async\s+)?(?:function\*?|const|let|class)\s+(\w+)")
_COMMENT = re.compile(r"/\*.*?\*/|(?<!:)//[^\n]*", re.S)

each_module = pytest.mark.parametrize("path", OWN_MODULES, ids=lambda p: str(p.relative_to(JS)))
each_sheet = pytest.mark.parametrize("path", OWN_SHEETS, ids=lambda p: p.name)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(path: Path) -> str:
    return _COMMENT.sub("", text(path))


def names(listed: str) -> list[str]:
    return [one.strip() for one in listed.split(",") if one.strip()]


def exports(path: Path) -> set[str]:
    source = code(path)
    listed = [one.split(" as ")[-1].strip() for m in _FROM.finditer(source) for one in names(m["names"])]
    return {*_EXPORT.findall(source), *listed}


def imports(path: Path) -> list[tuple[Path, list[str]]]:
    return [
        ((path.parent / m["path"]).resolve(), [n.split(" as ")[0].strip() for n in names(m["names"] or "")])
        for m in _IMPORT.finditer(code(path))
    ]


def calls(path: Path, start: str) -> list[str]:
    """Every call that begins so, whole: up to the bracket that closes it."""
    source, found = code(path), []
    for m in re.finditer(
        re.escape(start.partition("(")[0] + "(") + r"\s*" + re.escape(start.partition("(")[2]), source
    ):
        depth = 0
        for at in range(m.start(), len(source)):
            depth += {"(": 1, ")": -1}.get(source[at], 0)
            if source[at] == ")" and not depth:
                found.append(source[m.start() : at + 1])
                break
    return found


def test_the_readers_read() -> None:
    """A pattern that found nothing would let every test below pass."""
    assert len(OWN_MODULES) > 25 and all(p.exists() for p in (*VIEWS, *OWN_SHEETS))
    assert exports(JS / "core" / "api.js") >= {"api", "url", "outbox", "ApiError"}
    assert len(calls(JS / "views" / "jobs.js", 'h("button"')) >= 2 and calls(JS / "views" / "job.js", "api.get(")
    found = imports(JS / "views" / "archive.js")
    assert (JS / "core" / "api.js", ["api"]) in found and len(found) > 8


@each_module
def test_what_is_exported_is_used_somewhere(path: Path) -> None:
    if path in VIEWS:
        return
    taken = {name for other in MODULES for target, wanted in imports(other) if target == path for name in wanted}
    inside = code(path)
    unused = {n for n in exports(path) - taken if len(re.findall(rf"\b{n}\b", inside)) < 2}
    assert not unused, f"{path.name} exports {sorted(unused)}, which nothing uses"


def test_imports_go_down_and_in_no_circle() -> None:
    """Views know components and core, components know core; no module waits for itself."""
    graph = {path: [target for target, _ in imports(path)] for path in MODULES}
    for path, targets in graph.items():
        if path.parent.name in ("core", "components"):
            assert not [t for t in targets if t.is_relative_to(JS / "views")], f"{path.name} knows a view"

    def reaches(start: Path, goal: Path, seen: set[Path]) -> bool:
        for target in graph.get(start, []):
            if target == goal:
                return True
            if target not in seen:
                seen.add(target)
                if reaches(target, goal, seen):
                    return True
        return False

    for path in OWN_MODULES:
        assert not reaches(path, path, set()), f"{path.relative_to(JS)} imports itself by a detour"


@pytest.mark.parametrize("path", VIEWS, ids=lambda p: p.stem)
def test_every_view_is_mounted_by_a_route(path: Path) -> None:
    assert "mount" in exports(path)
    assert f'module: "../views/{path.name}"' in text(JS / "core" / "router.js")


FORBIDDEN = {
    "HTML from text": r"\.(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment",
    "code from text": r"\beval\(|new Function\(|setTimeout\(\s*[\"'`]",
    "another host": r"https?://(?!www\.w3\.org/)",
    "a style attribute": r"style:\s*[\"'`]|setAttribute\(\s*[\"']style",
    "a handler as text": r"\bon[a-z]+:\s*[\"'`]",
    "storage of its own": r"\b(?:local|session)Storage\b|document\.cookie|indexedDB",
    "a request past the core": r"(?<![\w.])fetch\(|XMLHttpRequest|new EventSource|new WebSocket|sendBeacon",
    "a note left behind": r"console\.|debugger\b|TODO|FIXME",
    "the browser's time zone": r"toLocale(?:Date|Time)?String|getTimezoneOffset|\.getHours\(",
}


@each_module
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_view_does_not(path: Path, what: str) -> None:
    found = re.search(FORBIDDEN[what], code(path))
    assert found is None, f"{path.name}: {what}: {found and found[0]}"


@pytest.mark.parametrize(
    ("what", "bad"),
    [
        ("HTML from text", "box.innerHTML = label"),
        ("code from text", "eval(answer)"),
        ("another host", 'src: "https://cdn.example/x.js"'),
        ("a style attribute", 'h("i", { style: "color: red" })'),
        ("a handler as text", 'h("b", { onclick: "go()" })'),
        ("storage of its own", "localStorage.setItem(a, b)"),
        ("a request past the core", "await fetch(address)"),
        ("a note left behind", "console.log(1)"),
        ("the browser's time zone", "date.toLocaleString()"),
    ],
)
def test_what_is_forbidden_would_be_found(what: str, bad: str) -> None:
    assert re.search(FORBIDDEN[what], bad)


@each_module
def test_icons_exist(path: Path) -> None:
    known = set(re.findall(r'^  "?(\w+)"?: \[', text(JS / "core" / "icons.js"), re.M))
    assert "play" in known
    used = {*re.findall(r'(?<!\w)icon\("(\w+)"', code(path)), *re.findall(r'\bicon: "(\w+)"', code(path))}
    assert used <= known, f"{path.name} draws {sorted(used - known)}"


@each_module
def test_a_button_with_an_icon_alone_has_a_name(path: Path) -> None:
    for call in [*calls(path, 'h("button"'), *calls(path, 'h("a"')]:
        if re.search(r'class: "(?:iconbtn|play-mini)', call):
            assert "aria-label" in call, f"{path.name}: {call[:80]}"


@each_module
def test_every_button_has_a_type(path: Path) -> None:
    """Without one it would send the form that it stands in."""
    for call in calls(path, 'h("button"'):
        assert re.search(r'\btype: "(?:button|submit)"', call), f"{path.name}: {call[:80]}"


@each_module
def test_what_is_registered_is_taken_away(path: Path) -> None:
    source = code(path)
    for name in re.findall(
        r"const (off\w+) = (?:keys\.register|player\.(?:on|follow)|judging\.on|prefs\.on)\(", source
    ):
        assert re.search(rf"\b{name}\(\)", source), f"{path.name} never calls {name}"
    loose = re.findall(r"^\s*(?:keys\.register|judging\.on|player\.on|player\.follow)\(", source, re.M)
    assert not loose, f"{path.name} registers what it cannot take away"


@each_module
def test_questions_to_the_service_can_be_given_up(path: Path) -> None:
    """Every read names a signal, so that an answer never comes to a view that is gone."""
    for call in calls(path, "api.get("):
        assert "signal" in call, f"{path.name}: {call[:90]}"


@each_sheet
def test_sheets_take_colours_from_the_tokens(path: Path) -> None:
    known = set(re.findall(r"(--[\w-]+)\s*:", "".join(text(p) for p in SHEETS)))
    known |= set(re.findall(r'"(--[\w-]+)"', "".join(text(p) for p in MODULES)))
    used = set(re.findall(r"var\((--[\w-]+)", text(path)))
    assert used and used <= known, f"{path.name} uses {sorted(used - known)}"
    colours = set(re.findall(r"#[0-9a-fA-F]{3,8}\b", _COMMENT.sub("", text(path))))
    assert colours <= {"#fff"}, f"{path.name} has colours of its own: {sorted(colours)}"  # white lies on the pictures
    assert "url(http" not in text(path) and "!important" not in text(path)
    assert text(path).count("{") == text(path).count("}")


@each_sheet
def test_imported_sheets_are_there(path: Path) -> None:
    for name in re.findall(r'@import url\("([^"]+)"\)', text(path)):
        assert (CSS / name).is_file()


@each_sheet
def test_every_class_of_a_sheet_is_used(path: Path) -> None:
    source = "".join(text(p) for p in MODULES)
    rules = re.sub(r"\{[^{}]*\}", " ", _COMMENT.sub("", text(path)))
    for name in sorted(set(re.findall(r"\.([a-z][\w-]*)", rules)) - {"css"}):
        # A class may be put together: `badge--${state}`, `heat-${ramp}-${n}`.
        made = [f"{name[: m.end()]}${{" for m in re.finditer("-", name)]
        whole = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", source)
        assert whole or any(one in source for one in made), f"{path.name} styles .{name}, which no module makes"


@pytest.mark.parametrize("name", ["recording", "probe", "review", "job"])
def test_a_route_loads_a_sheet_that_brings_all_it_needs(name: str) -> None:
    """A view that is opened first finds the sheets of the parts it is made of."""
    routes = dict(re.findall(r'name: "(\w+)",\s*pattern.*?css: "(\w+)"', text(JS / "core" / "router.js"), re.S))
    sheet = CSS / f"{routes[name]}.css"
    brought = {sheet.name, *re.findall(r'@import url\("([^"]+)"\)', text(sheet))}
    needed = {"recording": {"archive.css", "recording.css"}, "probe": {"probes.css", "jobs.css", "recording.css"}}
    needed |= {"review": {"review.css"}, "job": {"jobs.css"}}
    deeper = {n for b in brought for n in re.findall(r'@import url\("([^"]+)"\)', text(CSS / b))}
    assert needed[name] <= brought | deeper
