"""Whether a text is an authenticator function: exactly one `def` or `async def`, and nothing beside it.

Uses nothing but the standard library, because `stentor check` runs this file with whatever Python there is: the text comes
on standard input, and what is wrong with it goes to standard output.
"""

from __future__ import annotations

import __future__

import ast
import inspect
import json
import sys
import types
from typing import Iterator, NamedTuple, Union

Def = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Fault(NamedTuple):
    """What is wrong with a function, and the line."""

    line: int
    reason: str


def check(text: str) -> Union[Def, Fault]:
    """The function of a text, or the first thing that is wrong with it."""
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        return Fault(error.lineno or 1, f"Python does not understand this: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Fault(1, f"Python does not understand this: {error}")
    functions = [node for node in module.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for node in module.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            what = "an import" if isinstance(node, (ast.Import, ast.ImportFrom)) else "code"
            return Fault(
                node.lineno, f"there is {what} outside of the function; only one def is allowed, so put it inside"
            )
    if not functions:
        return Fault(1, "there is no function; exactly one def or async def is needed")
    if len(functions) > 1:
        return Fault(functions[1].lineno, "there is a second function; exactly one def is allowed, so put it inside")
    function = functions[0]
    return _at_load(function) or _arguments(function) or _compiled(text, function) or function


def compiled(text: str, file: str) -> types.CodeType:
    """The code as the worker runs it. Annotations are for type checkers: what they name is imported inside, if at all."""
    return compile(text, file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)


def _at_load(function: Def) -> Union[Fault, None]:
    """What would run where the function is defined is code outside of it."""
    if function.decorator_list:
        return Fault(
            function.decorator_list[0].lineno,
            "there is a decorator, which is code outside of the function; only one def is allowed, so put it inside",
        )
    for default in function.args.defaults + [default for default in function.args.kw_defaults if default is not None]:
        try:
            ast.literal_eval(default)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            reason = "a default value is computed, which is code outside of the function; constants are allowed"
            return Fault(default.lineno, reason)
    return None


def _compiled(text: str, function: Def) -> Union[Fault, None]:
    """What only the compiler sees, such as `break` outside of a loop, and whether a call would run the function at all."""
    try:
        module = compiled(text, "<authenticator>")
    except SyntaxError as error:
        return Fault(error.lineno or function.lineno, f"Python does not understand this: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Fault(function.lineno, f"Python does not understand this: {error}")
    made = [code for code in module.co_consts if isinstance(code, types.CodeType) and code.co_name == function.name]
    if made and made[0].co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        line = next(_yields(function), function.lineno)
        return Fault(line, "the function is a generator: it has a yield, so it would give no result; use return")
    return None


def _yields(node: ast.AST) -> Iterator[int]:
    """The lines of what makes a function a generator."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Yield, ast.YieldFrom)):
            yield child.lineno
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _yields(child)


def _arguments(function: Def) -> Union[Fault, None]:
    """The function is called with `context=` and `request=`, and with nothing else today."""
    spec = function.args
    if spec.posonlyargs:
        return Fault(function.lineno, "arguments are given by name; take context and request as *, context, request, **kwargs")
    takes = {argument.arg for argument in spec.args + spec.kwonlyargs}
    for name in ("context", "request"):
        if name not in takes and spec.kwarg is None:
            return Fault(function.lineno, f"the function does not take {name}; write *, context, request, **kwargs")
    needed = [argument.arg for argument in spec.args[: len(spec.args) - len(spec.defaults)]]
    needed += [argument.arg for argument, default in zip(spec.kwonlyargs, spec.kw_defaults) if default is None]
    for name in needed:
        if name not in ("context", "request"):
            return Fault(function.lineno, f"nobody passes the argument {name}; write *, context, request, **kwargs")
    return None


if __name__ == "__main__":
    found = check(sys.stdin.buffer.read().decode("utf-8", "replace"))
    print(json.dumps({"line": found.line, "reason": found.reason} if isinstance(found, Fault) else {}))
