"""Who makes which shard, and where. What a shard is made of is in `shard`; engines only schedule it."""
