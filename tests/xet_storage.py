"""Xet storage in memory, as far as hf_xet 1.8 needs it: tokens, xorbs, shards, reconstructions.

What goes over the wire is public (https://huggingface.co/docs/xet): files are cut into chunks, chunks are packed into
xorbs, and a shard says of which chunks a file consists. The chunks stay packed here, as they came: only who asks for a
file unpacks them. The newer endpoints (xorb-grants, v2) are answered with 404, upon which the client takes these.
"""

from __future__ import annotations

import re
import struct
import time

XET_TOKEN = "xet-token"
_ENTRY = 48  # bytes of every record of a shard
_VERIFIED, _METADATA = 1 << 31, 1 << 30  # flags of a file in a shard


class XetContent(bytes):
    """Stands for the content of a file that lies in Xet storage: as long, but of zeros."""

    oid: str
    xet_hash: str


class XetStorage:
    """What was uploaded: xorbs by hash, and by the hash of a file its terms (xorb, bytes, first chunk, last + 1)."""

    def __init__(self):
        self.xorbs = {}
        self.files = {}
        self.by_sha256 = {}

    def content(self, oid, size):
        """What a commit names by its sha256."""
        found = XetContent(size)
        found.oid, found.xet_hash = oid, self.by_sha256[oid]
        return found

    def connection(self, host):
        """JSON and headers by which the client learns where the storage is."""
        url, until = f"http://{host}/cas", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": XET_TOKEN, "X-Xet-Token-Expiration": str(until)}
        return {"casUrl": url, "exp": until, "accessToken": XET_TOKEN}, headers

    def answer(self, method, path, body, host):
        """JSON or bytes; None for what is not there."""
        if hit := re.fullmatch(r"/cas/v1/xorbs/default/([0-9a-f]{64})", path):
            if method == "POST":
                self.xorbs[hit[1]] = body
                return {"was_inserted": True}
            return self.xorbs[hit[1]]
        if path == "/cas/v1/shards" and method == "POST":
            self.add_shard(body)
            return {"result": 1}
        if (hit := re.fullmatch(r"/cas/v1/reconstructions/([0-9a-f]{64})", path)) and hit[1] in self.files:
            return self.reconstruction(self.files[hit[1]], host)
        return None

    def add_shard(self, shard):
        """Read the files of a shard: after its head of 48 bytes records of 48 bytes, until one with a hash of ones."""
        at = _ENTRY
        while (name := shard[at : at + 32]) != b"\xff" * 32:
            flags, count = struct.unpack_from("<II", shard, at + 32)
            at += _ENTRY
            terms = []
            for _ in range(count):
                size, first, end = struct.unpack_from("<III", shard, at + 36)
                terms.append((_text(shard[at : at + 32]), size, first, end))
                at += _ENTRY
            at += _ENTRY * count if flags & _VERIFIED else 0
            self.files[_text(name)] = terms
            if flags & _METADATA:
                self.by_sha256[_text(shard[at : at + 32])] = _text(name)
                at += _ENTRY

    def reconstruction(self, terms, host):
        """Where the chunks of a file are."""
        wanted, places = [], {}
        for xorb, size, first, end in terms:
            start, stop = self.span(xorb, first, end)
            wanted.append({"hash": xorb, "unpacked_length": size, "range": {"start": first, "end": end}})
            places.setdefault(xorb, []).append(
                {
                    "range": {"start": first, "end": end},
                    "url": f"http://{host}/cas/v1/xorbs/default/{xorb}",
                    "url_range": {"start": start, "end": stop - 1},
                }
            )
        return {"offset_into_first_range": 0, "terms": wanted, "fetch_info": places}

    def span(self, xorb, first, end):
        """Bytes of a xorb that hold the chunks from `first` to before `end`; each has a head of 8 bytes."""
        at, ends = 0, [0]
        while len(ends) <= end:
            at += 8 + int.from_bytes(self.xorbs[xorb][at + 1 : at + 4], "little")
            ends.append(at)
        return ends[first], ends[end]


def _text(digest):
    """A hash as it is written: four numbers of 64 bits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))
