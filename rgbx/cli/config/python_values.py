"""Options as W&B's agent writes them: values in Python's notation, where YAML is expected."""

import ast
import json
import re

__all__ = ["without_python"]


def without_python(argument: str) -> str:
    """``--key=None`` as ``--key=null``, and lists and dicts of Python in YAML's notation.

    Everything else, YAML's own notation too, stays as it is.
    """
    match = re.fullmatch(r"(--[\w.+]+)=(None|[\[{].*[\]}])", argument, re.DOTALL)
    if match is None:
        return argument
    try:
        return f"{match[1]}={json.dumps(ast.literal_eval(match[2]))}"
    except (ValueError, SyntaxError, TypeError):  # YAML, or a dict whose keys JSON does not have
        return argument
