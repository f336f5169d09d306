"""Games of other programs as run folders: strict readers, one per format, and their shared parts."""

from harness.exchange.imports.folder import FORMATS, import_games
from harness.exchange.imports.source import Source
from harness.exchange.imports.werewolf.log import Imported, ImportFormatError

__all__ = ["FORMATS", "ImportFormatError", "Imported", "Source", "import_games"]
