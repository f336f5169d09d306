"""Static pages of a run: an index of its games and a page for each, to be opened from the disk.

    from harness.view import write_view
    index = write_view("runs/demo-1")       # runs/demo-1/view/index.html

Nothing is loaded from a network and no server is needed. Agents' texts are data in the pages, never markup.
"""

from __future__ import annotations

from harness.view.pages import write_view

__all__ = ["write_view"]
