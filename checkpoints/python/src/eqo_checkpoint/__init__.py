"""EQO checkpoints in Python: the file format, the integer engine over NumPy, and a PyTorch module of a checkpoint."""

from .engine import Engine
from .errors import CheckpointError
from .format import Checkpoint, load, loads

__all__ = ["Checkpoint", "CheckpointError", "Engine", "load", "loads"]
__version__ = "0.1.0"
