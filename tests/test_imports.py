"""The tree is the architecture: imports point downwards, and help answers without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "rgbx"
_BASE = {"errors", "disk", "text", "yaml_file", "class_path"}
_DATA = {"data", "visualization", "prompts"}
_PARTS = {"backbones", "blocks", "losses", "metrics", "optim", "prompts", "checkpoints"}
_RUNS = {"tasks", "results", "visualization", "profile"}
LAYERS = {  # package or module -> what it may import from rgbx
    "errors": set(),
    "disk": set(),
    "class_path": set(),
    "text": {"errors"},
    "yaml_file": {"errors"},
    "losses": {"errors"},
    "visualization": {"disk", "text"},
    "prompts": {"errors", "text"},
    "metrics": {"errors"},
    "optim": {"errors", "disk", "visualization"},
    "backbones": {"errors", "disk"},
    "blocks": {"errors", "disk"},
    "checkpoints": {"errors", "disk", "backbones", "optim"},
    "data": {"errors", "disk", "text", "yaml_file", "visualization", "prompts"},
    "results": {"errors", "disk", "metrics"},
    "tasks": _BASE | _DATA | _PARTS,
    "models": _BASE | _PARTS | {"tasks", "visualization"},
    "profile": _BASE | _PARTS | {"tasks", "results"},
    "callbacks": _BASE | _DATA | _PARTS | _RUNS,
    "export": _BASE | _PARTS | {"tasks", "data"},
    "report": _BASE | {"results", "metrics", "visualization"},
    "jobs": _BASE | {"results", "callbacks"},
}
LAYERS["cli"] = set(LAYERS)


def imports(path: Path) -> set[str]:
    """Dotted rgbx modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name for name in found if name.startswith("rgbx.")}


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


FILES = sorted(p for p in PACKAGE.rglob("*.py") if layer(p) not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = layer(path)
    used = {name.split(".")[1] for name in imports(path)}
    assert used <= LAYERS[own] | {own}, f"{path.name} reaches up or sideways: {used}"


def test_no_paper_imports_another():
    papers = [p for p in (PACKAGE / "models").iterdir() if (p / "module.py").is_file()]
    assert len(papers) >= 1
    for paper in papers:
        for path in paper.rglob("*.py"):
            below = {n.split(".")[2] for n in imports(path) if n.startswith("rgbx.models.")}
            assert not below & {other.name for other in papers if other != paper}, path


@pytest.mark.parametrize(
    "argv",
    [
        ["--version"],
        ["--help"],
        ["check-data", "--help"],
        ["profile", "--help"],
        ["export", "--help"],
        ["report", "--help"],
        ["weights", "--help"],
        ["weights", "convert", "--help"],
        ["table", "--help"],
        ["ablate", "--help"],
    ],
    ids=" ".join,
)
def test_help_answers_without_torch(argv):
    code = (
        "import sys; from rgbx.cli import main\n"
        f"try: main({argv!r})\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'lightning', 'numpy', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("rgbx" in done.stdout) and len(done.stdout) > 4


def test_no_registry_host_or_machine_path_in_the_project():
    words = ("py" + "pi.org", "pythonhos" + "ted", "/wo" + "rk/", "/ro" + "ot/")
    root = PACKAGE.parent
    files = [p for d in ("rgbx", "configs", "tools") for p in (root / d).rglob("*.*")]
    files += [root / "README.md", root / "Makefile", root / "pyproject.toml"]
    texts = {p: p.read_text() for p in files if p.suffix in (".py", ".yaml", ".md", ".toml", "")}
    assert len(texts) > 30
    assert not [(p.name, w) for p, text in texts.items() for w in words if w in text]
