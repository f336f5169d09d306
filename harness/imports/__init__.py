"""Games of other programs as run folders: strict readers, one a format, and what they have in common."""

from harness.imports.folder import FORMATS, Source, import_games
from harness.imports.log import Imported, ImportFormatError

__all__ = ["FORMATS", "ImportFormatError", "Imported", "Source", "import_games"]
