"""Finds in source code what could run the content of a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator

PACKAGES = (
    *("Algorithm", "Common", "Distillation", "Enviroment", "Evaluation", "Models"),
    *("Sharing", "Train_Teacher", "vision_distillation"),
)
_PICKLERS = {
    *("pickle", "_pickle", "cPickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"),
    *("jsonpickle", "pandas"),
}
_RUNNERS = {"eval", "exec", "compile", "__import__"}
_LOADERS = {
    *("load", "loads", "load_all", "full_load", "unsafe_load", "Unpickler", "unpickle"),
    *("load_from_zip_file", "load_from_pkl", "load_replay_buffer", "read_pickle"),
    *("import_module", "load_module", "runpy", "run_path"),
}
_SAFE = {
    *("json.loads", "json.load", "yaml.safe_load"),
    *("safetensors.torch.load", "safetensors.torch.load_file"),
}


# Nothing bounds what these read; a pipe is waited for. `Common.files.bounded_read` does both.
_UNBOUNDED = ("read_text", "read_bytes")
_PARSERS = ("json.load", "json.loads", "yaml.load", "yaml.safe_load")


def unbounded_reads(source: str) -> Iterator[str]:
    """Calls in a module that read or parse whatever lies there."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        callee = ast.unparse(node.func)
        of_own = bool(node.args) and ast.unparse(node.args[0]).startswith("json.dumps(")
        if callee.rpartition(".")[2] in _UNBOUNDED or (callee in _PARSERS and not of_own):
            yield callee


def findings(source: str) -> Iterator[str]:
    """What in a module must have a reason: its imports and calls, as they are written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if _root(a.name) in _PICKLERS)
        elif isinstance(node, ast.ImportFrom) and _root(node.module or "") in _PICKLERS:
            yield from (
                f"from {node.module} import {a.name}"
                for a in node.names
                if not a.name.endswith("Error")  # exceptions load nothing
            )
        elif isinstance(node, ast.Call):
            callee = ast.unparse(node.func)
            if not _is_safe(node, callee):
                yield callee
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and not _is(keyword.value, False):
                    yield "allow_pickle"


def _is_safe(call: ast.Call, callee: str) -> bool:
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    name = callee.rpartition(".")[2]
    if callee in _SAFE or (name not in _LOADERS and callee not in _RUNNERS):
        return True
    if callee == "torch.load":
        return _is(options.get("weights_only"), True)
    if callee == "np.load":
        return _is(options.get("allow_pickle"), False)
    if name == "import_module":
        return isinstance(call.args[0], ast.Constant)
    return False


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _root(module: str) -> str:
    return module.partition(".")[0]
