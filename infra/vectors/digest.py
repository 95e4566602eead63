"""The digest of an index: two that hold the same vectors have the same, whatever order they were put in."""

import hashlib

import numpy as np
import orjson

from infra.vectors.index import EmbeddedIndex


def digest_of(index: EmbeddedIndex) -> str:
    """SHA-256 over guild, generation, image, channel and float16 vector of everything in it, and over the removed ids.

    Nothing may change the index meanwhile. Takes about a second for a million vectors' bytes: run it in a thread.
    """
    digest = hashlib.sha256()
    for (guild_id, generation), shard in sorted(index.shards.items()):
        table = shard.table()
        ids, codes, channels = table["ids"].astype(np.str_), table["codes"], table["channels"].astype(np.str_)
        used = np.flatnonzero(codes >= 0)
        for slot in used[np.argsort(ids[used])].tolist():
            digest.update(orjson.dumps([guild_id, generation, ids[slot].item(), channels[codes[slot]].item()]))
            digest.update(table["values"][slot].astype("<f2").tobytes())
    digest.update(orjson.dumps(sorted(index.removed)))
    return digest.hexdigest()
