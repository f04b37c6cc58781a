"""Functions are taken from files with their layout, and stand by themselves."""

import ast

from custodes.critic.functions import functions_of, moved_back

MODULE = '''"""A module."""
import functools

@functools.lru_cache
def first(a, b=1):
    # a comment
    total = a + b
    return total

class Outer:
    class Inner:
        def second(self, text):
            """Says.

            More.
            """
            if text:
                help = """line one
  line two
            line three"""
                return help
            return None

    def stub(self):
        raise NotImplementedError

def tiny(): return 1

if True:
    async def third(x):
        y = x

        def inner():
            return y
        return inner
'''


def test_functions_and_methods_are_found_with_their_lines():
    found = {f.qualname: f for f in functions_of(MODULE)}
    assert list(found) == ["first", "Outer.Inner.second", "third"]
    lines = MODULE.split("\n")
    assert lines[found["first"].start - 1] == "@functools.lru_cache"
    assert lines[found["third"].end - 1] == "        return inner"


def test_code_keeps_comments_and_strings_and_loses_its_depth():
    code = next(f.code for f in functions_of(MODULE) if f.qualname == "Outer.Inner.second")
    assert code.startswith('def second(self, text):\n    """Says.\n\n    More.\n    """\n')
    assigned = next(n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Assign))
    assert assigned.value.value == "line one\n  line two\n            line three"
    assert "    # a comment\n" in functions_of(MODULE)[0].code


def test_every_code_parses_and_windows_line_ends_are_no_obstacle():
    for text in (MODULE, MODULE.replace("\n", "\r\n")):
        for function in functions_of(text):
            assert isinstance(ast.parse(function.code).body[0], ast.FunctionDef | ast.AsyncFunctionDef)
            assert "\r" not in function.code


def test_tabs_are_left_as_they_are():
    (function,) = functions_of("class A:\n\tdef f(self):\n\t\tx = 1\n\t\treturn x\n")
    assert function.code == "def f(self):\n\tx = 1\n\treturn x\n"


def test_what_was_moved_to_the_margin_is_moved_back() -> None:
    """Also lines of strings, which are no layout, and docstrings, which are."""
    text = '''class Box:
    @property
    def told(self) -> str:
        """What is in it.

            >>> Box().told
        """
        words = """first
second
  third"""

        return words
'''
    (function,) = functions_of(text)
    lines = text.split("\n")
    assert function.code.startswith("@property")
    assert "\nsecond\n" in function.code
    assert moved_back(function.code, "    ") == lines[function.start - 1 : function.end]
    assert moved_back("def f():\n    return 1\n", "") == ["def f():", "    return 1"]
