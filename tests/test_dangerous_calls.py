"""Nothing that serves runs what it reads: no pickles, no code in strings, no shells."""

import ast
from collections.abc import Iterator

import pytest

from devtools.services import CHECKOUT

SERVING = ("common", "front", "middle", "inference", "search")
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def sources() -> Iterator[tuple[str, ast.AST]]:
    for package in SERVING:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            yield str(path.relative_to(CHECKOUT)), ast.parse(path.read_text())


def faults(tree: ast.AST) -> Iterator[str]:
    """What a module does that it must not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0]}
        else:
            names = set()
        yield from (f"imports {name}" for name in names & MODULES)
        if isinstance(node, ast.Call) and (fault := fault_of(node)):
            yield f"line {node.lineno}: {fault}"


def fault_of(call: ast.Call) -> str | None:
    name = ast.unparse(call.func)
    given = {one.arg: ast.unparse(one.value) for one in call.keywords}
    if name in CALLS or name in METHODS:
        return name
    if name == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False":
        return ast.unparse(call)
    return None


def test_what_serves_runs_nothing_that_it_reads() -> None:
    """No pickle, eval, exec or unsafe loader in any package that a server imports."""
    assert [] == [(name, fault) for name, tree in sources() for fault in faults(tree)]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib as j",
        "eval(x)",
        "exec(x)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=p)",
        "yaml.load(f)",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_the_test_finds_what_it_looks_for(code: str) -> None:
    """Each of the forms that are forbidden is found."""
    assert list(faults(ast.parse(code)))


@pytest.mark.parametrize("code", ["np.load(f)", "torch.load(f, weights_only=True)", "model.eval()"])
def test_the_test_lets_the_rest_be(code: str) -> None:
    """The safe forms are none of them."""
    assert [] == list(faults(ast.parse(code)))


COMPARING = {"common/keys.py": "find_key", "common/internal_auth.py": "is_shown"}
"""Where a secret that somebody sent meets those that we know."""


@pytest.mark.parametrize(("file", "name"), COMPARING.items(), ids=COMPARING)
def test_secrets_are_compared_in_constant_time(file: str, name: str) -> None:
    """By hmac.compare_digest, with every key, however alike or early the right one is."""
    tree = ast.parse((CHECKOUT / file).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    (function,) = [one for one in functions if one.name == name]
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
    left_early = [
        node for one in loops for node in ast.walk(one) if isinstance(node, ast.Return | ast.Break)
    ]
    unequal = [
        operator
        for node in ast.walk(function)
        if isinstance(node, ast.Compare)
        for operator in node.ops
        if isinstance(operator, ast.Eq | ast.NotEq)
    ]

    assert "hmac.compare_digest(" in ast.unparse(function)
    assert [] == left_early + unequal
