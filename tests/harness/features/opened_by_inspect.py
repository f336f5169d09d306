"""What Inspect and Scout read of exported transcripts, as JSON; run by test_peers.py with a Python that has them.

python opened_by_inspect.py INSPECT_FOLDER SCOUT_FOLDER
"""

import asyncio
import json
import sys
from pathlib import Path

from inspect_ai.log import read_eval_log
from inspect_scout import TranscriptContent, transcripts_db, validation_set


def in_log(folder):
    log = read_eval_log(str(folder / "log.json"))
    return {
        "status": log.status,
        "samples": {
            s.id: {
                "roles": [m.role for m in s.messages],
                "texts": [m.text for m in s.messages],
                "scores": {name: score.value for name, score in s.scores.items()},
                "metadata": s.metadata,
            }
            for s in log.samples
        },
    }


async def in_database(folder):
    found = {}
    async with transcripts_db(str(folder / "transcripts")) as db:
        async for info in db.select():
            whole = await db.read(info, TranscriptContent(messages="all"))
            found[info.transcript_id] = {
                "roles": [m.role for m in whole.messages],
                "texts": [m.text for m in whole.messages],
                "success": info.success,
                "metadata": dict(info.metadata),
            }
    return found


def main():
    inspect, scout = map(Path, sys.argv[1:])
    cases = validation_set(str(scout / "validation.csv")).cases
    validation = {case.id: case.target for case in cases}
    both = {"log": in_log(inspect), "database": asyncio.run(in_database(scout)), "validation": validation}
    print(json.dumps(both))


if __name__ == "__main__":
    main()
