"""The README and the docs agree with the program: commands, keys, links, messages and tables."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from data_pipeline.providers import PROVIDERS
from housevis.cli import app
from housevis.core.config import Config

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
SOURCES = sorted(
    path for package in ("housevis", "data_pipeline", "db") for path in (PROJECT / package).rglob("*.py")
)
LONGEST_README = 90
FOREIGN_PROGRAMS = {"make", "python", "python3", "pip", "export", "torchrun"}
FILE_SUFFIXES = {"csv", "parquet", "safetensors", "py"}
FRAGMENT = "…"


def text_of(path: Path) -> str:
    """A page as text; of a notebook its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def commands() -> dict[str, Any]:
    """Name of a command -> the command; those of a group under the group's name and their own."""
    group: Any = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        below = getattr(command, "commands", None) or {"": command}
        found |= {f"{name} {sub}".strip(): child for sub, child in below.items()}
    return found


def command_name(words: list[str]) -> str | None:
    """The command that words after the program's name begin with, None if they are options alone."""
    plain = [word for word in words if not word.startswith("-")]
    if " ".join(plain[:2]) in commands():
        return " ".join(plain[:2])
    return plain[0] if plain else None


def command_options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")} - {
        "--help"
    }


def all_options() -> set[str]:
    return set().union(*(command_options(command) for command in commands().values()))


def sections_of(page: Path, level: str = "##") -> dict[str, str]:
    """Heading -> the text below it."""
    parts = re.split(rf"^{level} (.+)$", text_of(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table_rows(text: str) -> list[list[str]]:
    """Cells of the table rows in a text, headers and rules left out."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [row for number, row in enumerate(rows) if number > 0 and not set(row[0]) <= set("-: ")]


# -- commands ---------------------------------------------------------------------


def command_sections() -> dict[str, str]:
    found = sections_of(DOCS / "commands.md")
    return {
        heading.removeprefix("housevis "): text
        for heading, text in found.items()
        if heading.startswith("housevis ")
    }


def test_every_command_is_documented_and_no_other() -> None:
    assert set(command_sections()) == set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    rows = table_rows(command_sections()[name])
    documented = {re.findall(r"[^\s`]+", row[0])[0] for row in rows}

    parameters = commands()[name].params
    arguments = {parameter.metavar for parameter in parameters if parameter.param_type_name == "argument"}
    assert documented == command_options(commands()[name]) | arguments


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_default_of_an_option_is_the_one_documented(name: str) -> None:
    rows = {row[0].strip("`").split()[0]: row[1].strip("`") for row in table_rows(command_sections()[name])}
    for parameter in commands()[name].params:
        default = parameter.default
        if parameter.opts[0] not in rows or default in (None, False, "") or repr(default) == "Sentinel.UNSET":
            continue
        assert rows[parameter.opts[0]] == str(default)


def test_every_command_has_a_python_call_of_its_name() -> None:
    from housevis import pipeline

    for name, section in command_sections().items():
        call = name.replace(" ", "_")
        assert callable(getattr(pipeline, call))
        assert f"pipeline.{call}(" in section


def test_exit_codes_are_those_of_the_errors() -> None:
    from housevis.core import errors

    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HousevisError)
    }
    documented = {int(row[0]) for row in table_rows(sections_of(DOCS / "commands.md")["Exit codes"])}
    assert documented == codes | {0, 130}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_a_page_names_only_commands_and_options_that_exist(page: Path) -> None:
    for words in command_lines(text_of(page)):
        if words[0] != "housevis":
            continue
        name = command_name(words[1:])
        if name is None:
            assert set(words[1:]) <= {"--version", "--help"}, words
            continue
        assert name in commands(), f"{page.name}: {' '.join(words)}"
        given = {word for word in words if word.startswith("--")} - {"--help"}
        assert given <= command_options(commands()[name]), f"{page.name}: {' '.join(words)}"


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_a_page_tells_to_run_only_known_programs(page: Path) -> None:
    known = FOREIGN_PROGRAMS | {"housevis"}
    targets = set(
        re.findall(r"^([\w.-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for words in indented_commands(text_of(page)):
        program = words[0].rsplit("/", 1)[-1]
        assert program in known, f"{page.name}: {' '.join(words)}"
        if program == "make":
            assert words[1] in targets, f"{page.name}: {' '.join(words)}"
        if program.startswith("python") and words[1] != "-m":
            assert (PROJECT / words[1]).is_file(), f"{page.name}: {' '.join(words)}"


def indented_commands(text: str) -> Iterator[list[str]]:
    """Lines indented by four spaces that look like a command, outside fences."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^ {4}(\S.*)$", outside, flags=re.MULTILINE):
        words = line.split("#")[0].split()
        if words and re.fullmatch(r"[\w./-]+", words[0]) and not re.search(r" (=|->) |[(]", line):
            yield words


def command_lines(text: str) -> Iterator[list[str]]:
    """Commands of housevis, indented or in code spans."""
    yield from indented_commands(text)
    for span in re.findall(r"`(housevis [^`]+)`", text):
        yield span.split()


# -- configuration ----------------------------------------------------------------


def section_models(model: type[BaseModel], prefix: str = "") -> dict[str, type[BaseModel]]:
    """Name of a section -> its model, the top level under ''."""
    found = {prefix: model}
    for name, field in model.model_fields.items():
        candidates = getattr(field.annotation, "__args__", (field.annotation,))
        for kind in candidates:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= section_models(kind, f"{prefix}.{name}" if prefix else name)
    return found


def is_section(field: Any) -> bool:
    candidates = getattr(field.annotation, "__args__", (field.annotation,))
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in candidates)


MODELS = section_models(Config)


def key_rows(section: str) -> dict[str, list[str]]:
    found = sections_of(DOCS / "configuration.md")
    heading = f"[{section}]" if section else "Top level"
    return {row[0].strip("`"): row for row in table_rows(found[heading])}


def test_every_section_of_the_configuration_is_documented_and_no_other() -> None:
    headings = {
        heading.strip("[]") for heading in sections_of(DOCS / "configuration.md") if heading.startswith("[")
    }
    assert headings == set(MODELS) - {""}


@pytest.mark.parametrize("section", sorted(MODELS), ids=lambda name: name or "top level")
def test_every_key_is_documented_and_no_other(section: str) -> None:
    keys = {name for name, field in MODELS[section].model_fields.items() if not is_section(field)}
    assert set(key_rows(section)) == keys


@pytest.mark.parametrize("section", sorted(MODELS), ids=lambda name: name or "top level")
def test_the_default_of_a_key_is_the_one_documented(section: str) -> None:
    for name, row in key_rows(section).items():
        field = MODELS[section].model_fields[name]
        default = field.get_default(call_default_factory=True)
        documented = row[2]
        if default is PydanticUndefined:
            assert documented == "required", name
        elif default is None:
            assert documented == "none", name
        else:
            assert json.loads(documented.strip("`")) == default, name


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_a_page_names_only_keys_that_exist(page: Path) -> None:
    sections = "|".join(sorted(name.split(".")[0] for name in MODELS if name))
    for section, key in re.findall(rf"`({sections})\.([a-z_0-9]+)\b(?!\()", text_of(page)):
        if key in FILE_SUFFIXES:
            continue
        assert key in MODELS[section].model_fields, f"{page.name}: {section}.{key}"


def test_the_examples_in_the_pages_are_configurations(tmp_path: Path) -> None:
    import tomllib

    from housevis.core.config import parse_config

    checked = 0
    for page in PAGES:
        for block in re.findall(r"^```toml\n(.*?)^```", text_of(page), flags=re.MULTILINE | re.DOTALL):
            table = {"name": "example", "listings": {"path": "sales.csv"}, **tomllib.loads(block)}
            parse_config(table, where=page.name, directory=tmp_path)
            checked += 1
    assert checked


# -- links and addresses ----------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower(), flags=re.UNICODE).strip().replace(" ", "-")
        for heading in headings
    }


def links_of(page: Path, *, pictures: bool) -> list[str]:
    mark = "!" if pictures else "(?<!!)"
    return re.findall(mark + r"\[[^\]]*\]\(([^)\s]+)\)", text_of(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links_of(page, pictures=False):
        if urlsplit(link).scheme:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_is_there(page: Path) -> None:
    links = links_of(page, pictures=True)
    if links and not (DOCS / "images").is_dir():
        pytest.skip("docs/images is not there yet; the pictures come from the finished demo")
    for link in links:
        assert (page.parent / link).is_file(), f"{page.name}: {link}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == DOCS], ids=lambda page: page.name)
def test_every_page_is_on_the_map_of_the_docs(page: Path) -> None:
    if page.name != "index.md":
        assert page.name in links_of(DOCS / "index.md", pictures=False)


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_a_page_names_no_address_but_those_of_imagery(page: Path) -> None:
    terms = " ".join(record.terms for record in PROVIDERS.values())
    known = {urlsplit(address).hostname for address in re.findall(r"https?://[^\s,)]+", terms)}
    known |= {"tiles.example.org", "127.0.0.1"}
    for address in re.findall(r"https?://[^\s`\"')|]+", text_of(page)):
        assert urlsplit(address).hostname in known, f"{page.name}: {address}"


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_a_page_names_no_path_of_one_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp)/", text_of(page))


def test_the_readme_fits_on_a_screen_or_so() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    packages = "housevis|data_pipeline|db|docs|examples|notebooks|tests|benchmarks"
    for name in re.findall(rf"`((?:{packages})/[\w./-]*\w\.(?:py|toml|md|ipynb))`", text_of(page)):
        assert (PROJECT / name).is_file(), f"{page.name}: {name}"


# -- messages ---------------------------------------------------------------------


def texts_of_call(node: ast.AST) -> str:
    """All text constants below a node, with … for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            FRAGMENT if isinstance(v, ast.FormattedValue) else texts_of_call(v) for v in node.values
        )
    if isinstance(node, ast.BinOp):
        return texts_of_call(node.left) + texts_of_call(node.right)
    return "\n".join(texts_of_call(child) for child in ast.iter_child_nodes(node))


def remedies() -> list[tuple[str, str]]:
    """(file and line, text) of every remedy in the sources."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "remedy":
                place = f"{path.relative_to(PROJECT)}:{node.value.lineno}"
                found.append((place, texts_of_call(node.value)))
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr):
                text = texts_of_call(node.value)
                if "`housevis " in text or "`train`" in text:
                    found.append((f"{path.relative_to(PROJECT)}:{node.lineno}", text))
    return found


def test_a_remedy_names_only_commands_and_options_that_exist() -> None:
    wrong = []
    known = remedies()
    assert len(known) > 100
    for place, text in known:
        named = re.findall(r"`([a-z]+)`", text)
        named += re.findall(r"\bhousevis ([a-z]+)(?=`| [A-Z]{3}| --)", text)
        wrong += [f"{place}: no command {name!r}" for name in named if name not in commands()]
        wrong += [
            f"{place}: no option {option!r}"
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
            if option not in all_options()
        ]
    assert not wrong


def test_the_messages_in_troubleshooting_are_messages_of_the_program() -> None:
    source = "\n".join(
        texts_of_call(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant | ast.JoinedStr)
    )
    headings = re.findall(r"^### (.+)$", text_of(DOCS / "troubleshooting.md"), flags=re.MULTILINE)
    symptoms = {
        "pip downloads several gigabytes",
        "Fewer sales than rows",
        "The pictures bring nothing, or make estimates worse",
        "Maps are `flat`",
        "It is slow",
    }
    assert symptoms <= set(headings)
    for heading in set(headings) - symptoms:
        pattern = ".{0,80}?".join(re.escape(part.strip()) for part in heading.split(FRAGMENT))
        assert re.search(pattern, source, flags=re.DOTALL), f"no message: {heading}"


# -- tables -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_tables", DOCS / "build_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_tables"] = module
    spec.loader.exec_module(module)
    return module


def table_names() -> list[str]:
    return sorted(
        set(re.findall(r'^    "([\w-]+)": Table\(', text_of(DOCS / "build_tables.py"), re.MULTILINE))
    )


def test_every_marker_has_a_start_and_an_end(tables: ModuleType) -> None:
    for page in tables.pages():
        text = page.read_text(encoding="utf-8")
        written = re.findall(r"<!-- ([\w-]+):(start|end) -->", re.sub(r"`[^`\n]*`", "", text))
        names = tables.markers(text)
        assert len(written) == 2 * len(names), page
        assert len(names) == len(set(names)), page


@pytest.mark.parametrize("name", table_names())
def test_a_table_equals_its_figures(name: str, tables: ModuleType) -> None:
    assert set(table_names()) == set(tables.TABLES)
    table = tables.TABLES[name]
    pages = [page for page in tables.pages() if name in tables.markers(page.read_text(encoding="utf-8"))]
    assert pages, f"no page has the markers of {name}"
    figures = table.figures()
    if figures is None:
        pytest.skip(f"docs/results/{table.results} is not there yet")
    content = table.build(figures)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert tables.filled(text, {name: content}) == text, (
            f"run docs/build_tables.py: {name} in {page.name}"
        )


def results() -> dict[str, Any]:
    """Figures in the shape that `evaluate` writes, with all the cases that a table must show."""
    interval = {"estimate": 0.012, "low": -0.003, "high": 0.027}
    row = {
        "name": "G",
        "attributes": ["latitude", "longitude"],
        "sales": 1234,
        "pictured": 1200,
        "without": 0.311,
        "with_visual": 0.323,
        "gain": interval,
        "mdape_without": 0.15,
        "mdape_with": 0.146,
        "published": {"without": 0.378, "with_visual": 0.399},
    }
    bare = {**row, "name": "none", "without": None, "gain": None, "mdape_without": None}
    bare["published"] = {"without": None, "with_visual": 0.361}
    return {
        "command": "housevis run examples/king-county.toml",
        "machine": {"processor": "A processor", "cores": 2, "memory_gib": 7.8},
        "backbone": {"choice": "ResNet-50 conv1 to layer3: chosen by vision.backbone"},
        "stages_seconds": {"ingest": 3.2, "embed": 300.4},
        "headline": {"sales": 1234},
        "rank_accuracy": 0.7371,
        "ratio_study": {"n": 1234, "cod": {"estimate": 0.15, "low": 0.14, "high": 0.16}},
        "interval": {"nominal": 0.9, "covered": 0.884},
        "ablation": [bare, row, {**row, "name": "all attributes", "published": None}],
    }


def test_the_table_of_a_run_shows_every_kind_of_row(tables: ModuleType) -> None:
    details = tables.run_tables.king_county_details(results())
    assert "| none | - | 32.3 |  | - | 36.1 |" in details
    assert "| G | 31.1 | 32.3 | +1.2 (-0.3 to +2.7) | 37.8 | 39.9 |" in details
    assert "| all attributes | 31.1 | 32.3 | +1.2 (-0.3 to +2.7) |  |  |" in details
    assert "| none | 1,234 | - | 14.6 |" in details
    assert "| cod | 0.150 | 0.140 to 0.160 |" in details
    assert "90.0 % of the prices held 88.4 %" in details
    assert "ingest 3 s, embed 300 s" in details


def test_the_table_of_real_data_sets_the_recipe_beside_the_best_features(tables: ModuleType) -> None:
    def row(attributes: str, learner: str, low: float, published: dict | None) -> dict[str, Any]:
        gained = {"estimate": low + 0.01, "low": low, "high": low + 0.02}
        return {
            "attributes": attributes,
            "learner": learner,
            "regressor": "gradient-boosting",
            "without": {"share": 0.311},
            "with": {"share": 0.311 + low + 0.01},
            "gain": gained,
            "published": published,
        }

    recipe, published = tables.table2_tables.PAPER, {"without": 0.378, "with_visual": 0.399}
    rows = [row("G", recipe, -0.03, published), row("all attributes", recipe, -0.01, None)]
    rows += [row("G", "near", 0.01, published), row("all attributes", "near", -0.005, None)]
    none = {"without": None, "gain": None, "published": {"without": None, "with_visual": 0.361}}
    rows += [{**row("none", name, 0.0, None), **none} for name in (recipe, "near")]
    table = tables.table2_tables.headline(
        {"selection": {"best": "near"}, "market": {"later": 1234}, "rows": rows}
    )
    assert "| G | 31.1 | -2.0 (-3.0 to -1.0) | +2.0 (+1.0 to +3.0) | +2.1 |" in table
    assert "| all attributes | 31.1 | +0.0 (-1.0 to +1.0) | +0.5 (-0.5 to +1.5) |  |" in table
    assert "| none | - | 32.1 | 32.1 |  |" in table
    assert "help in 1 of 2 attribute sets and hurt in 0" in table


def test_filling_replaces_only_what_is_named(tables: ModuleType) -> None:
    text = "<!-- one:start -->\nold\n<!-- one:end -->\n\n<!-- two:start -->\nkept\n<!-- two:end -->\n"
    new = tables.filled(text, {"one": "| a |"})
    assert new == text.replace("old", "| a |")
    assert tables.filled(new, {"one": "| a |"}) == new


def test_tables_whose_figures_are_absent_are_left_alone(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "TABLES", {"king-county-details": tables.TABLES["king-county-details"]})
    assert tables.built_tables() == ({}, ["king-county-details"])
    (tmp_path / "king-county.json").write_text(json.dumps(results()), encoding="utf-8")
    contents, absent = tables.built_tables()
    assert list(contents) == ["king-county-details"]
    assert absent == []
