"""A plugin."""
from __future__ import annotations
import plugbay as p, os.path
from . import x as y
__version__ = "1." + "2"
metadata = {"name": "x", "tags": ["a", 1, -2.5, None, True]}
class P(p.Plugin, metaclass=type):
    """Greets."""
    limit: int = 3
    @p.method
    async def greet(self, name: str, /, *rest, loud: bool = False, **more: "int | None") -> dict[str, str]:
        async with self.host as h: yield name
    def on_message(self, m): return (lambda a, b=1: a)(m)
try:
    import f
except (ImportError, KeyError):
    f = None
match x:
    case [1, *rest] | {"a": P(b=2)}: pass
    case _ if (z := 3): del z
for i in range(3): print(i, end="")
else: raise E from None
