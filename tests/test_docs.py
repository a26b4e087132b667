import ast
import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import drawn, saved

import bear_classifier as bc
from bear_classifier.cli.options import COMMANDS, module, parser
from bear_classifier.config.project_file import STARTER, TABLES, as_toml, read_project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bear_classifier"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = (".", "data", "deploy", "docs", "docs/decisions", "models", "models/bears")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
MOST_LINES = 220  # of README.md: more belongs into docs/
GUIDES = {  # what tells people which commands to type
    page.name: page.read_text(encoding="utf-8")
    for page in PAGES
    if page.parent.name in (ROOT.name, "docs") and page.name not in ("CHANGELOG.md", "LOG.md")
}

sys.path.insert(0, str(ROOT / "docs"))
from reference import PARTS, command_parsers, filled  # noqa: E402


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# generated parts


@pytest.mark.parametrize("page", PARTS)
def test_generated_parts_are_up_to_date(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert filled(text, PARTS[page]) == text, "run: make docs"


def test_every_generated_part_is_written():
    begun = {
        (named(page), name)
        for page in PAGES
        for name in re.findall(r"^<!-- (\w+):begin -->$", page.read_text(encoding="utf-8"), re.M)
    }
    assert begun == {(page, name) for page, parts in PARTS.items() for name in parts}


def test_a_part_without_a_place_is_noticed():
    with pytest.raises(ValueError, match="help has 0 places"):
        filled("no place", {"help": lambda: "usage: bears\n"})


def test_the_reference_holds_all_commands_options_and_settings():
    commands = GUIDES["COMMANDS.md"]
    assert "usage: bears" in commands
    assert re.findall(r"^## ([a-z-]+)$", commands, re.MULTILINE) == list(COMMANDS)
    for name, made in command_parsers().items():
        section = re.split(rf"^## {name}$", commands, flags=re.MULTILINE)[1].partition("\n## ")[0]
        common = commands.rpartition("## Common options")[2]
        for option in {word for action in made._actions for word in action.option_strings}:
            assert option in ("-h", "--help") or f"`{option}" in section + common, (name, option)
    settings = GUIDES["SETTINGS.md"]
    for table, kind in TABLES.items():
        for field in dataclasses.fields(kind):
            assert settings.count(f"| `{table}.{field.name}` |") == 1


def test_the_readme_is_short_and_leads_to_every_guide():
    assert len(README.splitlines()) < MOST_LINES
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "bears-note.md":  # which the card of the model quotes
            assert f"](docs/{page.name}" in README, page.name


# links


def anchors(text: str) -> set[str]:
    """Those that GitHub makes of headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    words = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w -]", "", title).strip().replace(" ", "-") for title in words}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match("https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), target
        assert place.resolve().is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(place.read_text(encoding="utf-8")), target


def test_an_anchor_is_what_github_makes_of_a_heading():
    text = "# A [link](x.md): `code`, and more\n```\n# no heading\n```\n## On the internet\n"
    assert anchors(text) == {"a-link-code-and-more", "on-the-internet"}


# names of the code


def paths(text: str) -> set[str]:
    """What is written as the path of a module, of a file or of a folder."""
    words = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text)
    return {word for word in words if word.endswith(("/", ".py", ".toml"))}


def exists(name: str) -> bool:
    return (PACKAGE / name).exists() or (ROOT / name).exists()


@pytest.mark.parametrize(
    "page", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *DECISIONS], ids=named
)
def test_modules_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    assert [name for name in sorted(paths(text)) if not exists(name)] == []


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in ("CHANGELOG.md", "LOG.md", "MIGRATION.md")],
    ids=named,
)
def test_settings_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8").replace("learn.predict", "")  # fastai's
    tables = "|".join(TABLES)
    for table, key in re.findall(rf"[`\"= ,]({tables})\.([a-z]\w*)(?=[`=\s,;)\"])", text):
        names = {field.name for field in dataclasses.fields(TABLES[table])}
        assert key in names | {"py"}, f"{table}.{key}"  # .py: a module of that name


def layers(architecture: str) -> str:
    """The block below the heading, a layer a line."""
    found = re.search(r"^## Layers$.*?^```\n(.*?)^```", architecture, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_architecture_is_a_page_and_names_every_folder():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    folders = {
        f"{path.parent.relative_to(PACKAGE).as_posix()}/"
        for path in PACKAGE.rglob("__init__.py")
        if path.parent != PACKAGE
    }
    assert len(folders) > 15
    words = {word for word in re.split(r"[\s`]+", layers(text)) if word.endswith("/")}
    assert sorted(folders - paths(text) - words) == []


def test_the_architecture_lists_the_layers_as_they_are_checked():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    shown = [set(re.split(r" {2,}", line)[0].split()) for line in layers(text).splitlines()]
    assert all(exists(name) for layer in shown for name in layer)
    contract = next(c for c in CONTRACTS if c["type"] == "layers")
    checked = [set(layer.split(" | ")) for layer in reversed(contract["layers"])]
    assert [{name.removesuffix("/").removesuffix(".py") for name in layer} for layer in shown] == (
        checked
    )


def test_every_decision_is_a_record_in_the_index():
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    assert len(DECISIONS) >= 52
    for number, page in enumerate(DECISIONS, 1):
        assert page.name.startswith(f"{number:03}-")
        text = page.read_text(encoding="utf-8")
        title = text.splitlines()[0]
        assert title.startswith(f"# {number}. ")
        assert f"({page.name})" in index
        assert title.removeprefix(f"# {number}. ") in index
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Decision", "Why", "Where"]
        assert paths(text.partition("## Where")[2]), "names no module"


def test_the_migration_names_modules_that_exist_and_none_that_stayed():
    text = (ROOT / "docs/MIGRATION.md").read_text(encoding="utf-8")
    moved, names = text.split("## Settings, options and files")
    rows = re.findall(r"^\| `([\w/.]+)` \| (.*) \|$", moved, re.MULTILINE)
    assert len(rows) > 100
    for old, new in rows:
        assert not (PACKAGE / old).exists(), f"{old} stayed"
        assert paths(new) or new.endswith(("js`", "css`", "html`")), old
        for name in re.findall(r"`([\w/.]+)`", new):
            assert (PACKAGE / name).exists(), name
    renamed = re.findall(r"^\| `([\w.]+)` \| `.*` \| `([\w.]+)", names, re.MULTILINE)
    assert len(renamed) > 200
    for name, new in renamed:
        place = new.rpartition(".")[0] if "." in new and new[0].islower() else name
        source = (PACKAGE / f"{place.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"\b{new.rpartition('.')[2]}\b", source), (name, new)


# commands


@pytest.mark.parametrize("page", GUIDES)
def test_every_command_in_the_guides_is_understood(page):
    lines = re.findall(r"^    (bears .+)$", GUIDES[page], re.MULTILINE)
    for line in lines:
        words = shlex.split(line.split("   ")[0])
        parser().parse_args(words[1:])


def test_the_guides_show_many_commands():
    shown = {page: len(re.findall("^    bears ", GUIDES[page], re.M)) for page in GUIDES}
    assert shown["README.md"] >= 20
    assert sum(shown.values()) >= 60


def test_make_targets_in_the_readme_exist():
    targets = set(
        re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    asked = set(re.findall(r"(?:`|^    )make ([\w-]+)", "\n".join(GUIDES.values()), re.MULTILINE))
    assert {"run", "test", "setup", "docs", "bench"} <= asked
    assert asked <= targets


def readme_python():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return code


def test_the_readme_s_python_names_what_is_public():
    """test_api.py runs the same lines on a small project."""
    asked = set(re.findall(r"\b(bc|project|model)\.(\w+)", readme_python()))
    kinds = {"bc": bc, "project": bc.Project, "model": bc.Model}
    assert len(asked) > 15
    assert [pair for pair in asked if not hasattr(kinds[pair[0]], pair[1])] == []


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_readme_s_python_runs(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(saved(drawn(seed=3), "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", readme_python()], capture_output=True, encoding="utf-8", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "photo.jpg Prediction(label=" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_with_its_options(name: str) -> None:
    found = module(name)
    assert callable(found.add_options) and callable(found.run)
    assert found.__doc__ and (f"`bears {name}`" in found.__doc__ or name in found.__doc__)


def test_the_project_files_are_valid_and_complete():
    bears = read_project(ROOT / "bears.toml")
    assert (ROOT / "bears.toml").read_text(encoding="utf-8") == as_toml(bears)
    assert read_project(STARTER).search.source == "starter"
    assert read_project(STARTER).labels == bears.labels


def test_every_error_code_stands_in_the_manual():
    manual = set(
        re.findall(
            r"^\| `([A-Z_]+)`", (ROOT / "docs/CODES.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    used = set()
    for path in sorted((ROOT / "bear_classifier").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if isinstance(node, ast.Call) and name.endswith(("Error", "Refused", "Refusal")):
                for word in node.args[:2]:  # Refused begins with a number
                    if isinstance(word, ast.Constant) and re.fullmatch("[A-Z_]+", str(word.value)):
                        used.add(word.value)
    assert len(used) > 30
    assert used - manual == set(), "codes without a line in docs/CODES.md"
    assert manual - used <= {"TOO_SMALL", "BLANK", "NEAR_COPY", "ACROSS_SPLITS", "DUPLICATE",
                             "LABEL_CONFLICT", "GONE", "PENDING", "OK", "TAKEN_DOWN",
                             "SPARE", "CLASS_REMOVED", "PLACEHOLDER", "STORED_FILE",
                             "BETWEEN_GROUPS"}  # fmt: skip


REQUIREMENTS = [f"requirements{part}.txt" for part in ("", "-dev", "-gpus", "-heic", "-offline")]


def test_requirements_are_exact():
    for name in REQUIREMENTS:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert re.match(r"[a-z0-9_.-]+==[0-9.]+( *;.*)?$", line), line


def test_the_help_of_every_command_says_what_it_does():
    bears = shutil.which("bears", path=str(Path(sys.executable).parent))
    done = subprocess.run([bears, "--help"], capture_output=True, encoding="utf-8")
    assert done.returncode == 0
    for command in ("new", "run", "predict", "evaluate", "serve", "status", "export"):
        assert re.search(rf"^    {command} +\S", done.stdout, re.MULTILINE)
