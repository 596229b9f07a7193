-- Begin another life of one partition: all who listen will doubt what they hold of it.
-- KEYS: bus hash, stream. ARGV: a fresh incarnation.
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'inc', ARGV[1], 'n', 0)
return 1
