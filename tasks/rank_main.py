"""A process that is one rank of an update: `python -m sdar.tasks.rank_main PLAN RESULT NUMBER TOKENS`.

PLAN and RESULT are folders. The end of the standard input, however that comes about, ends the process at
once: it has nothing that could be left half done, as the store is none of its business.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path


def main() -> None:
    """Learn, or say why not."""
    # Before torch is imported, which takes seconds: the parent may be gone by then.
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from sdar.rl.sharding import Rank
    from sdar.tasks.rank_files import read_plan
    from sdar.tasks.rank_work import learn

    plan, result, number = read_plan(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    try:
        learn(plan, Rank(number, plan.settings.devices), int(sys.argv[4]), result)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        _tell(result, number, error)
        os._exit(1)  # without tidying up, for which it might wait for ranks that wait for it


def _end_with_the_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def _tell(result: Path, number: int, error: Exception) -> None:
    import torch

    from sdar.tasks.rank_files import FAILURE

    told = {
        "rank": number,
        "memory": isinstance(error, torch.OutOfMemoryError),
        "error": f"{type(error).__name__}: {error}",
    }
    with suppress(FileExistsError), (result / FAILURE).open("x", encoding="utf-8") as stream:
        stream.write(json.dumps(told))


if __name__ == "__main__":
    main()
