"""From bytes to pixels: headers, checks, decoding, records of shards."""
